# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which iptables chains and rules a cluster made, and how to take exactly those out again.

kube-proxy and the kubelet own the chains `KUBE-*`. The CNI plugins name their rules after the network in a
comment (`name: "<network>" id: "<container>"`), use one `CNI-<hash>` chain for each pod and a few shared chains.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

FAMILIES = {"iptables": "ip", "ip6tables": "ip6"}  # each program and the family that nftables calls its tables by
SHARED_CHAINS = ("CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ", "CNI-FORWARD", "CNI-ADMIN")
JUMP = re.compile(r" -[jg] (\S+)")
ADDRESS = re.compile(r" -[sd] (\S+)")


@dataclass
class Table:
    """One table of `iptables-save`: its own chains, the built-in ones with their policies, rules as (chain, rest)."""

    name: str
    chains: list[str] = field(default_factory=list)
    base_chains: dict[str, str] = field(default_factory=dict)
    rules: list[tuple[str, str]] = field(default_factory=list)


def parse(saved: str) -> list[Table]:
    """The tables in the output of `iptables-save`."""
    tables: list[Table] = []
    for line in saved.splitlines():
        if line.startswith("*"):
            tables.append(Table(line[1:].strip()))
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy == "-":
                tables[-1].chains.append(name)
            else:
                tables[-1].base_chains[name] = policy
        elif line.startswith("-A "):
            _, chain, *rest = line.split(" ", 2)
            tables[-1].rules.append((chain, "".join(rest)))
    return tables


def chain_names(saved: str) -> list[str]:
    """Every chain as `table/chain`: what is remembered before a cluster starts, and never removed."""
    return [f"{table.name}/{chain}" for table in parse(saved) for chain in (*table.base_chains, *table.chains)]


def addition(saved: str, network: str, service_cidr: str) -> str:
    """Input for `iptables-restore --noflush` that refuses what is sent to Services without pods ("" where it stands).

    kube-proxy does so, too, but its rules come after those by which the CNI plugins let pods send whatever they want:
    packets to a Service that leads nowhere would leave the machine by its default route.
    """
    rule = (
        f'-A CNI-ADMIN -d {service_cidr} -m comment --comment "name: \\"{network}\\" id: \\"services\\"" '
        "-j REJECT --reject-with icmp-port-unreachable"
    )
    if rule in saved.splitlines():
        return ""
    chain = [] if "filter/CNI-ADMIN" in chain_names(saved) else [":CNI-ADMIN - [0:0]"]
    return "".join(f"{line}\n" for line in ("*filter", *chain, rule, "COMMIT"))


def passage(network: str, device: str, address: str, inside: Iterable[str]) -> dict[str, list[str]]:
    """The rules, by table, that let a node's packets pass this machine by `device`, whatever else may not.

    What the node at `address` sends to the networks `inside` keeps its sender; elsewhere nobody knows the way back.
    """
    comment = f'-m comment --comment "name: \\"{network}\\" id: \\"node\\""'
    return {
        "filter": [f"-A FORWARD -{way} {device} {comment} -j ACCEPT" for way in "io"],
        "nat": [
            *(f"-A POSTROUTING -s {address}/32 -d {known} {comment} -j RETURN" for known in inside),
            f"-A POSTROUTING -s {address}/32 {comment} -j MASQUERADE",
        ],
    }


def missing(saved: str, wanted: Mapping[str, Iterable[str]]) -> str:
    """Input for `iptables-restore --noflush` that adds rules that are not there; rules of filter come before others."""
    present = {(table.name, f"-A {chain} {rule}") for table in parse(saved) for chain, rule in table.rules}
    payload: list[str] = []
    for table, rules in wanted.items():
        absent = [rule for rule in rules if (table, rule) not in present]
        if absent and table == "filter":  # before rules of others that drop
            absent = [rule.replace("-A ", "-I ", 1) for rule in absent]
        payload += [f"*{table}", *absent, "COMMIT"] if absent else []
    return "".join(f"{line}\n" for line in payload)


def revocation(saved: str, network: str) -> str:
    """Input for `iptables-restore --noflush` that removes the rules whose comments name `network`, and nothing else."""
    payload: list[str] = []
    for table in parse(saved):
        rules = [f"-D {chain} {rule}" for chain, rule in table.rules if _names(rule, network)]
        payload += [f"*{table.name}", *rules, "COMMIT"] if rules else []
    return "".join(f"{line}\n" for line in payload)


def removal(saved: str, network: str, pod_cidr: str, kept: Iterable[str]) -> str:
    """Input for `iptables-restore --noflush` that removes what the cluster made ("" when there is nothing).

    `network` is the name of the CNI network, `kept` the chains (`table/chain`) that were there before.
    """
    payload: list[str] = []
    for table in parse(saved):
        payload += _removal(table, network, ipaddress.ip_network(pod_cidr), set(kept))
    return "".join(f"{line}\n" for line in payload)


def abandoned(saved: str, kept: Iterable[str]) -> list[str]:
    """The tables that were not there before (`kept`: their chains) and in which nothing is left."""
    before = {chain.split("/")[0] for chain in kept}
    return [
        table.name
        for table in parse(saved)
        if table.name not in before
        and not table.chains
        and not table.rules
        and set(table.base_chains.values()) <= {"ACCEPT"}
    ]


def _removal(
    table: Table, network: str, pods: ipaddress.IPv4Network | ipaddress.IPv6Network, kept: set[str]
) -> list[str]:
    def new(chain: str) -> bool:
        return f"{table.name}/{chain}" not in kept

    own = {chain for chain in table.chains if chain.startswith("KUBE-") and new(chain)}
    own |= {
        target
        for _, rule in table.rules
        if _names(rule, network) and (target := _target(rule)).startswith("CNI-") and target not in SHARED_CHAINS
    }
    own &= set(table.chains)

    def ours(chain: str, rule: str) -> bool:
        by_name = chain in own or _target(rule) in own or _names(rule, network)
        return by_name or (chain == "CNI-FORWARD" and _within(rule, pods))

    shared = {chain for chain in table.chains if chain in SHARED_CHAINS and new(chain)}
    foreign = [rule for chain, rule in table.rules if chain in shared and not ours(chain, rule) and _names_a_pod(rule)]
    if not foreign:
        own |= shared
    deletions = [f"-D {chain} {rule}" for chain, rule in table.rules if chain not in own and ours(chain, rule)]
    if not own and not deletions:
        return []
    removed = [chain for chain in table.chains if chain in own]
    return [
        f"*{table.name}",
        *(f":{chain} - [0:0]" for chain in removed),
        *deletions,
        *(f"-X {chain}" for chain in removed),
        "COMMIT",
    ]


def _target(rule: str) -> str:
    match = JUMP.search(f" {rule}")
    return match.group(1) if match else ""


def _names(rule: str, network: str) -> bool:
    return re.search(rf'name: \\?"{re.escape(network)}\\?" id:', rule) is not None


def _names_a_pod(rule: str) -> bool:
    return " id: " in rule or ADDRESS.search(f" {rule}") is not None


def _within(rule: str, pods: ipaddress.IPv4Network | ipaddress.IPv6Network) -> bool:
    match = ADDRESS.search(f" {rule}")
    if not match:
        return False
    address = ipaddress.ip_interface(match.group(1)).ip
    return address.version == pods.version and address in pods
