# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a NetworkPolicy can say of an endpoint that a site names by a URL."""

from __future__ import annotations

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import IN_CLUSTER
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

PORTS = {"http": 80, "https": 443, "postgresql": 5432, "postgres": 5432}
"""Ports that a URL need not name."""


def way_to(url: str) -> dict[str, Any]:
    """`to` and `ports` of a rule for egress to the host of a URL, or to its hosts where it has several (PostgreSQL).

    A policy knows no names: a host with an address is that address, a Service of the cluster is its namespace, with all
    ports, because its pods may have others than it; any other host may be anywhere. Raises PlatformError for a URL
    without a host or with a port that is none.
    """
    parts = urlsplit(url)
    peers: list[dict[str, Any]] = []
    ports: set[int] = set()
    anywhere = service = False
    for place in parts.netloc.rpartition("@")[2].split(","):
        try:
            found = urlsplit(f"//{place}")
            host, port = found.hostname or "", found.port or PORTS.get(parts.scheme.partition("+")[0])
        except ValueError as error:
            raise PlatformError(f"{place!r} is no host and port: {error}") from error
        if not host or not port:
            raise PlatformError(f"{parts.scheme}://{place} has no {'port' if host else 'host'}")
        ports.add(port)
        if inside := IN_CLUSTER.fullmatch(host):
            service = True
            peers.append({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": inside[2]}}})
        elif network := _network(host):
            peers.append({"ipBlock": {"cidr": network}})
        else:
            anywhere = True
    way: dict[str, Any] = {"to": [] if anywhere else peers}
    return way if service else {**way, "ports": sorted(ports)}


def _network(host: str) -> str:
    """The network of an address alone; "" for a name."""
    try:
        return str(ipaddress.ip_network(host))
    except ValueError:
        return ""
