# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Single checks of a machine before a cluster is made on it. Nothing here changes anything."""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

LISTENING = "0A"  # state of a socket in /proc/net/tcp
MIB = 1024 * 1024
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Route:
    """A route of the machine."""

    network: ipaddress.IPv4Network
    device: str


@dataclass(frozen=True)
class Disk:
    """Space that must be free where `path` is or will be, in MiB, by the name of the variable that says so."""

    path: Path
    mib: int
    variable: str


def platform_problems(system: str = sys.platform, user: int | None = None) -> list[str]:
    """What no setting can change: the operating system and the user."""
    if system != "linux":
        return [f"the machine runs {system}: a local cluster needs Linux"]
    if (os.geteuid() if user is None else user) != 0:
        return ["you are not root: run the playbook as root (for example with sudo)"]
    if shutil.which("apt-get", path=SEARCH_PATH) is None:
        return ["apt-get is not installed: a local cluster needs Debian or Ubuntu"]
    return []


def memory_problem(meminfo: str, needed_mib: int) -> str:
    """Too little memory, by the text of /proc/meminfo, or an empty string."""
    values = {line.split(":")[0]: int(line.split()[1]) // 1024 for line in meminfo.splitlines() if ":" in line}
    if values["MemTotal"] >= needed_mib:
        return ""
    return (
        f"the machine has {values['MemTotal']} MiB of memory: "
        f"the cluster needs {needed_mib} (local_cluster_minimum_memory_mib)"
    )


def disk_problem(disk: Disk) -> str:
    """Too little free space where the disk's path is or will be, or an empty string."""
    existing = next(path for path in (disk.path, *disk.path.parents) if path.exists())
    free = shutil.disk_usage(existing).free // MIB
    if free >= disk.mib:
        return ""
    return f"{existing} has {free} MiB free: the cluster needs {disk.mib} ({disk.variable})"


def missing_packages(packages: Mapping[str, str]) -> list[str]:
    """The Debian packages whose program, a name or an absolute path, is not there."""
    return sorted(package for package, program in packages.items() if not _installed(program))


def routes(table: str) -> list[Route]:
    """The routes in the text of /proc/net/route, without default routes."""
    found = []
    for line in table.splitlines()[1:]:
        device, destination, _, _, _, _, _, mask = line.split()[:8]
        if int(mask, 16):
            network = ipaddress.ip_network(f"{_address(destination)}/{_address(mask)}")
            assert isinstance(network, ipaddress.IPv4Network)
            found.append(Route(network, device))
    return found


def overlap_problems(wanted: Mapping[str, str], existing: Iterable[Route]) -> list[str]:
    """Which of the wanted networks (by variable name) is already used on this machine, or by another one of them."""
    problems = []
    networks = {name: ipaddress.ip_network(text, strict=False) for name, text in wanted.items()}
    listed = list(existing)
    for number, (name, network) in enumerate(networks.items()):
        if overlapping := [route for route in listed if network.overlaps(route.network)]:
            route, more = overlapping[0], len(overlapping) - 1
            by = f"{route.device} and {more} more" if more else route.device
            problems.append(f"{name} {network} overlaps the route to {route.network} by {by}: choose another network")
        problems += [
            f"{name} {network} overlaps {other} {networks[other]}"
            for other in list(networks)[:number]
            if network.overlaps(networks[other])
        ]
    return problems


def stray_problems(existing: Iterable[Route], pod_cidr: str, own: str) -> list[str]:
    """Which pods of a node that runs have addresses that now are other nodes': it was started with other settings."""
    pods, part = ipaddress.IPv4Network(pod_cidr), ipaddress.IPv4Network(own)
    stray = [
        str(route.network.network_address)
        for route in existing
        if route.device.startswith("veth") and route.network.subnet_of(pods) and not route.network.subnet_of(part)
    ]
    if not stray:
        return []
    return [
        f"pods of the control plane have addresses outside of {part}, its part of the pods' network "
        f"({', '.join(stray[:3])}{', ...' if stray[3:] else ''}): stop the cluster first (make down)"
    ]


def listeners(tables: Sequence[str]) -> dict[int, str]:
    """The inode of a listening socket for each TCP port, from the texts of /proc/net/tcp and /proc/net/tcp6."""
    found: dict[int, str] = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            words = line.split()
            if words[3] == LISTENING:
                found[int(words[1].rsplit(":", 1)[1], 16)] = words[9]
    return found


def port_problems(
    ports: Mapping[str, int], listening: Mapping[int, str], owners: Mapping[str, int], ours: set[int]
) -> list[str]:
    """Which port (by variable name) somebody else listens on, or that two variables share.

    `owners` maps socket inodes to processes, `ours` are the processes of this cluster.
    """
    problems = []
    for number, (name, port) in enumerate(ports.items()):
        problems += [f"{name} and {other} are both {port}" for other in list(ports)[:number] if ports[other] == port]
        if port in listening:
            owner = owners.get(listening[port])
            if owner not in ours:
                user = _process_name(owner)
                problems.append(f"port {port} ({name}) is used by {user}: stop it or choose another port")
    return problems


def socket_owners(inodes: Iterable[str]) -> dict[str, int]:
    """Which process holds each of the sockets."""
    wanted = {f"socket:[{inode}]": inode for inode in inodes}
    owners: dict[str, int] = {}
    for entry in Path("/proc").iterdir() if wanted else ():
        if entry.name.isdigit():
            owners |= {wanted[target]: int(entry.name) for target in _open_files(entry) & wanted.keys()}
    return owners


def neighbour_problem(saved: str) -> str:
    """Another Kubernetes on this machine, by the output of `iptables-save`, or an empty string."""
    if "\n:KUBE-SERVICES " not in saved:
        return ""
    return (
        "another Kubernetes runs on this machine or left its rules (iptables has a chain KUBE-SERVICES), "
        "and two of them cannot share one: stop it first, or use it by its kubeconfig in place of a local cluster"
    )


def kept_problems(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """Which setting differs from the one the cluster was made with, though it cannot change any more."""
    return [
        f"{name} is {now[name]}, but the cluster was made with {before[name]}: "
        "put it back, or remove the cluster with its data (make clean)"
        for name in now
        if name in before and before[name] != now[name]
    ]


def nameservers(resolv_conf: str) -> list[str]:
    """The name servers that a pod can reach too: not those on the loopback device."""
    servers = [line.split()[1] for line in resolv_conf.splitlines() if line.startswith("nameserver ")]
    return [server for server in servers if not ipaddress.ip_address(server.partition("%")[0]).is_loopback]


def _installed(program: str) -> bool:
    return Path(program).exists() if program.startswith("/") else shutil.which(program, path=SEARCH_PATH) is not None


def _open_files(process: Path) -> set[str]:
    found = set()
    try:
        for link in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed since
                found.add(str(link.readlink()))
    except OSError:  # the process has ended since
        return found
    return found


def _address(little_endian: str) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(bytes.fromhex(little_endian)[::-1])


def _process_name(pid: int | None) -> str:
    if pid is None:
        return "another program"
    try:
        return f"process {pid} ({Path(f'/proc/{pid}/comm').read_text().strip()})"
    except OSError:
        return f"process {pid}"
