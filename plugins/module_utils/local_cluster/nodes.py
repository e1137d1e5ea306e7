# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The nodes of one cluster beside each other: which pods' addresses each has, and what does not go together."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

RESERVED = 3
"""Addresses of a part that no pod gets: its first and last one, and the node's own."""
LONGEST_PREFIX = 30


@dataclass(frozen=True)
class Node:
    """What a host of the inventory says of its node, as far as other nodes have to do with it.

    `shared` are the variables in which the nodes of a cluster must agree.
    """

    name: str
    address: str
    network: str
    pod_cidr: str
    pod_prefix: int
    max_pods: int
    shared: Mapping[str, Any]


def pods_of(pod_cidr: str, prefix: int, network: str, address: str) -> str:
    """The part of the pods' network that the node at `address` has: the one with its number, from 0 for the first.

    Without a `network` the node is alone, and the first one. Raises PlatformError, which names the variable that is
    wrong.
    """
    pods, nodes = ipaddress.IPv4Network(pod_cidr), ipaddress.IPv4Network(network or f"{address}/32")
    place = ipaddress.IPv4Address(address)
    if network and (place not in nodes or place in (nodes.network_address, nodes.broadcast_address)):
        raise PlatformError(
            f"local_cluster_node_address is {address}: the nodes of one cluster have addresses of "
            f"{nodes[1]} to {nodes[-2]} (local_cluster_node_network)"
        )
    if not pods.prefixlen <= prefix <= LONGEST_PREFIX:
        raise PlatformError(
            f"local_cluster_node_pod_prefix is {prefix}: parts of {pods} (local_cluster_pod_cidr) have prefixes of "
            f"{pods.prefixlen} to {LONGEST_PREFIX}"
        )
    number = int(place) - int(nodes.network_address) - 1 if network else 0
    parts = 2 ** (prefix - pods.prefixlen)
    if number >= parts:
        raise PlatformError(
            f"local_cluster_node_address is {address}, number {number + 1} of its network, and {pods} "
            f"(local_cluster_pod_cidr) has room for {parts} of /{prefix}: choose a longer local_cluster_node_pod_prefix"
        )
    return str(ipaddress.IPv4Network((int(pods.network_address) + number * 2 ** (32 - prefix), prefix)))


def problems(nodes: Mapping[str, Node]) -> Iterator[str]:
    """What does not go together in the nodes of a cluster, by their hosts."""
    hosts = list(nodes)
    said: set[str] = set()
    for number, (host, node) in enumerate(nodes.items()):
        for name, value in node.shared.items():
            if value != (first := nodes[hosts[0]].shared[name]):
                yield f"host {host}: {name} is {value}: the nodes of one cluster share it, and {hosts[0]} has {first}"
        for name in ("name", "address"):
            value = getattr(node, name)
            if other := next((other for other in hosts[:number] if getattr(nodes[other], name) == value), ""):
                yield f"host {host}: local_cluster_node_{name} is {value}, which {other} has, too"
        try:
            part = ipaddress.IPv4Network(pods_of(node.pod_cidr, node.pod_prefix, node.network, node.address))
        except PlatformError as error:
            if str(error) not in said:  # of all nodes at once
                said.add(str(error))
                yield f"host {host}: {error}"
        else:
            if node.max_pods > part.num_addresses - RESERVED:
                yield (
                    f"host {host}: local_cluster_max_pods is {node.max_pods}: {part} has addresses for "
                    f"{part.num_addresses - RESERVED} pods (local_cluster_node_pod_prefix)"
                )
