# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of a cluster change on their machine, outside of their own directories, and how it is taken back.

`prepare` is called before the first process starts, `sweep` after the last one ended. A sweep needs nothing but names
and the facts that `prepare` wrote down, so that it also cleans up after every process was killed or the power failed.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import (
    cgroups,
    iptables,
    mounts,
    preflight,
    sysctls,
)
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import write_file
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.supervisor import MARKER
from ansible_collections.mlops.platform.plugins.module_utils.process import run

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
DEVICES = Path("/sys/class/net")
ROUTES = Path("/proc/net/route")
CNI_RESULTS = Path("/var/lib/cni/results")  # fixed in libcni
LOG_LINKS = Path("/var/log/containers")  # fixed in the kubelet
POLICY_FAMILIES = ("ip", "inet")  # of what enforces NetworkPolicies, by which of its data planes the kernel can do
SHIM_SOCKETS = Path("/run/containerd/s")  # fixed in containerd


@dataclass(frozen=True)
class Host:
    """The marks of a node on its machine: of the one that is the control plane, too, and lives where Ansible runs."""

    state_dir: Path
    run_dir: Path
    cgroup: str
    device: str
    address: str
    network: str
    pod_cidr: str
    service_cidr: str

    def launch(self, command: Sequence[str | Path], environment: Mapping[str, str]) -> None:
        """Start the program that starts all others."""
        run(command, what="Starting supervisord", env=environment)

    def prepare(self) -> bool:
        """Make the cluster's control group, device and kernel settings; return whether anything was missing."""
        changed = False
        before = remembered(self)
        if before is None or before.boot_id != boot_id():
            chains = {program: iptables.chain_names(saved_rules(program)) for program in iptables.FAMILIES}
            before = Before(boot_id(), sysctls.current(), chains)
            _remember(self, before)
            changed = True
        enabled = cgroups.create(self.cgroup, cgroups.hierarchies())
        if set(enabled) - set(before.controllers):
            before.controllers = sorted({*before.controllers, *enabled})
            _remember(self, before)
        if not has_device(self.device):
            ip("link", "add", self.device, "type", "bridge")
            changed = True
        ip("address", "replace", f"{self.address}/32", "dev", self.device)
        ip("link", "set", self.device, "up")
        # What is sent to a pod that is gone must fail here, not leave the machine by its default route.
        ip("route", "replace", "unreachable", self.pod_cidr)
        if payload := iptables.addition(saved_rules("iptables"), self.network, self.service_cidr):
            restore_rules(self, "iptables", payload, "Refusing what is sent to Services without pods")
            changed = True
        sysctls.write("net.ipv4.ip_forward", "1")
        return changed

    def sweep(self, seconds: float) -> list[str]:
        """End what still runs and take away everything the control plane left on the machine; return what that was.

        Data in the state directory stays. Processes get `seconds` to end by themselves. Other nodes are left alone.
        """
        before = remembered(self)
        done = [f"processes ({count})"] if (count := end_processes(lambda: processes(self), seconds)) else []
        _remove_container_traces(self)
        points = mounts.under(mounts.parse(mounts.MOUNTINFO.read_text()), [self.state_dir, self.run_dir])
        for point in points:
            mounts.unmount(point)
        done += [f"mounts ({len(points)})"] if points else []
        if before and before.boot_id == boot_id():
            # A pod's own end of its device, and so the other one, can outlive the pod by the sockets it left.
            for device in [*pod_devices(ROUTES.read_text(), self.pod_cidr), self.device]:
                if delete_device(device):
                    done.append(f"device {device}")
            if ip("route", "show", "type", "unreachable", self.pod_cidr):
                ip("route", "delete", "unreachable", self.pod_cidr)
                done.append(f"route to {self.pod_cidr}")
            done += _remove_rules(self, before)
            done += [f"kernel settings ({', '.join(names)})"] if (names := sysctls.restore(before.sysctls)) else []
        if until(lambda: cgroups.remove(self.cgroup, cgroups.hierarchies(), before.controllers if before else ())):
            done.append(f"control group {self.cgroup}")
        if self.run_dir.exists():
            shutil.rmtree(self.run_dir)
            remove_if_empty(self.run_dir.parent)
            done.append(str(self.run_dir))
        if not self.workers_dir.exists():  # else rules and settings of the machine are not what they were before
            _memory(self).unlink(missing_ok=True)
        return done

    @property
    def prepared(self) -> bool:
        """Whether the machine was changed for it."""
        return remembered(self) is not None

    @property
    def present(self) -> bool:
        """Whether anything runs or was left on the machine."""
        return self.run_dir.exists() or self.prepared

    @property
    def outdated(self) -> bool:
        """Whether what runs was started as another node than this one, and cannot become it while it runs."""
        return False

    @property
    def workers_dir(self) -> Path:
        """Where the run directories of the cluster's other nodes are."""
        return self.run_dir.with_name(f"{self.run_dir.name}.nodes")


@dataclass
class Before:
    """How the machine was before the cluster started."""

    boot_id: str
    sysctls: dict[str, str]
    chains: dict[str, list[str]]
    controllers: list[str] = field(default_factory=list)


def boot_id() -> str:
    """A name of the time since the machine was started."""
    return BOOT_ID.read_text().strip()


def remembered(host: Host) -> Before | None:
    """What was written down when the cluster started, or None when the machine is untouched."""
    try:
        return Before(**json.loads(_memory(host).read_text()))
    except FileNotFoundError:
        return None


def pod_devices(table: str, pod_cidr: str) -> list[str]:
    """The devices that the text of /proc/net/route leads to pods by."""
    network = ipaddress.IPv4Network(pod_cidr)
    found = {route.device for route in preflight.routes(table) if route.network.subnet_of(network)}
    return sorted(device for device in found if device.startswith("veth"))


def delete_device(name: str) -> bool:
    """Delete a device; False where it is gone already, which the end of a pod may bring about meanwhile."""
    if not has_device(name):
        return False
    try:
        ip("link", "delete", name)
    except PlatformError:
        if has_device(name):
            raise
        return False
    return True


def has_device(name: str) -> bool:
    """Whether the machine has a network device called `name`."""
    return (DEVICES / name).exists()


def processes(host: Host) -> set[int]:
    """The processes of the cluster: those that carry its mark in their environment, and those in its pods."""
    mark = f"{MARKER}={host.run_dir}".encode()
    marked = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    marked.add(int(entry.name))
            except OSError:
                continue
    return marked | pod_processes(host)


def pod_processes(host: Host) -> set[int]:
    """The processes in the cluster's pods."""
    return cgroups.members(host.cgroup, cgroups.hierarchies())


def memory(host: Host) -> dict[str, int]:
    """Bytes in use by the cluster's own programs and by its pods; empty where nothing runs.

    What processes share is counted once: proc(5), `Pss` of smaps_rollup, in kilobytes of 1024 bytes.
    """
    pods, running = pod_processes(host), processes(host)
    if not running:
        return {}
    return {"kubernetes_bytes": _proportional(running - pods), "pods_bytes": _proportional(pods)}


def _proportional(pids: Iterable[int]) -> int:
    total = 0
    for pid in pids:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
        except OSError:  # it has ended since
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total * 1024


def end_processes(find: Callable[[], set[int]], seconds: float) -> int:
    """End the processes that `find` returns, by force those that live after `seconds`; return how many they were.

    0 seconds: by force at once.
    """
    first = found = find()
    if seconds:
        _signal(found, signal.SIGTERM)
    deadline = time.monotonic() + seconds
    while found and time.monotonic() < deadline:
        time.sleep(0.1)
        found = find()
    deadline = time.monotonic() + 20
    while found:
        if time.monotonic() > deadline:
            raise PlatformError(f"the processes {sorted(found)} of the cluster cannot be ended")
        _signal(found, signal.SIGKILL)
        time.sleep(0.1)
        found = find()
    return len(first)


def _signal(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            continue


def _remove_rules(host: Host, before: Before) -> list[str]:
    done = []
    for program in iptables.FAMILIES:
        payload = iptables.removal(saved_rules(program), host.network, host.pod_cidr, before.chains[program])
        if payload:
            restore_rules(host, program, payload, "Removing the cluster's iptables rules")
            done.append(f"{program} chains ({payload.count('-X ')})")
        for table in iptables.abandoned(saved_rules(program), before.chains[program]):
            _delete_table(iptables.FAMILIES[program], table)
    if [family for family in POLICY_FAMILIES if _delete_table(family, host.network)]:
        done.append("the table of NetworkPolicies")
    return done


def restore_rules(host: Host, program: str, payload: str, what: str) -> None:
    """Add and remove rules as `payload` says; `what` is for messages."""
    order = host.state_dir / f"{program}.rules"
    write_file(order, payload)
    run([f"{program}-restore", "--wait", "--noflush", order], what=what)
    order.unlink()


def saved_rules(program: str) -> str:
    """The rules of `iptables` or `ip6tables` as text."""
    return run([f"{program}-save"], what="Reading iptables")


def _delete_table(family: str, table: str) -> bool:
    """Delete a table that the cluster brought into being (with the older iptables an empty one stays); was it there?"""
    found = f"table {family} {table}" in run(["nft", "list", "tables"], what="Reading nftables").splitlines()
    if found:
        run(["nft", "delete", "table", family, table], what="Removing the cluster's tables of rules")
    return found


def _remove_container_traces(host: Host) -> None:
    """Remove what containerd, the CNI plugins and the kubelet leave at places that cannot be configured."""
    for address in host.run_dir.glob("containerd/io.containerd.runtime.v2.task/*/*/address"):
        shim = Path(address.read_text().removeprefix("unix://"))
        if shim.parent == SHIM_SOCKETS:
            shim.unlink(missing_ok=True)
    for sandbox in host.state_dir.glob("containerd/io.containerd.grpc.v1.cri/sandboxes/*"):
        for result in CNI_RESULTS.glob(f"*-{sandbox.name}-*"):
            result.unlink(missing_ok=True)
    for link in LOG_LINKS.iterdir() if LOG_LINKS.is_dir() else ():
        if link.is_symlink() and str(link.readlink()).startswith(f"{host.state_dir}/"):
            link.unlink()
    if not host.workers_dir.exists():  # other nodes have mounts of their own over these, which would go with them
        for directory in (SHIM_SOCKETS, SHIM_SOCKETS.parent, CNI_RESULTS, CNI_RESULTS.parent, LOG_LINKS):
            remove_if_empty(directory)


def remove_if_empty(directory: Path) -> None:
    """Remove a directory that is there and has nothing in it."""
    try:
        directory.rmdir()
    except OSError:
        return


def until(action: Callable[[], bool], seconds: float = 10) -> bool:
    """Repeat an action while the kernel says that something is still busy."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def _memory(host: Host) -> Path:
    return host.state_dir / "host.json"


def _remember(host: Host, before: Before) -> None:
    write_file(_memory(host), json.dumps(asdict(before), indent=1))


def ip(*arguments: str) -> str:
    """What the program `ip` prints."""
    return run(["ip", *arguments], what="Setting up the node's network")
