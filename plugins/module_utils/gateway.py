# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Gateways (Gateway API) and Routes of OpenShift: where a host answers, how to connect there, what is wrong."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import certificates
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import title
from ansible_collections.mlops.platform.plugins.module_utils.report import write_text
from ansible_collections.mlops.platform.plugins.module_utils.rollout import conditions

AUTHORITY_FILE = "platform-ca.crt"
"""The name under which the certificate of the edge's own authority stands beside the report."""
API = "gateway.networking.k8s.io/v1"
ROUTES_API = "route.openshift.io/v1"
GOOD = ("Accepted", "ResolvedRefs", "Programmed")
"""The conditions that must be true (https://gateway-api.sigs.k8s.io/guides/implementers/#standard-status-fields-and-conditions)."""
OWNED_BY = "gateway.envoyproxy.io/owning-gateway-name={name},gateway.envoyproxy.io/owning-gateway-namespace={namespace}"
NAMED_BY = "gateway.networking.k8s.io/gateway-name={name}"
"""How the Service of a Gateway is known: by Envoy Gateway's labels, or by the one of all others (GEP-1762)."""


def gateway(cluster: Cluster, name: str, namespace: str) -> Object:
    """A Gateway. Raises PlatformError where there is none."""
    found = cluster.get(API, "Gateway", name, namespace)
    if found is None:
        raise PlatformError(f"Gateway {namespace}/{name} does not exist")
    return found


def port(found: Mapping[str, Any], protocol: str) -> int:
    """The port of the first listener of a Gateway for HTTP or HTTPS. Raises PlatformError where it has none."""
    for listener in found["spec"]["listeners"]:
        if listener["protocol"] == protocol:
            return int(listener["port"])
    raise PlatformError(f"{title({**found, 'kind': 'Gateway'})} has no listener for {protocol}")


def service(cluster: Cluster, name: str, namespace: str) -> Object | None:
    """The Service that leads to a Gateway's proxies; None where it is not one of this cluster."""
    for selector, space in ((OWNED_BY, None), (NAMED_BY, namespace)):
        found = cluster.list("v1", "Service", space, selector.format(name=name, namespace=namespace))
        if found:
            return found[0]
    return None


def addresses(found: Mapping[str, Any]) -> list[str]:
    """The addresses under which a Gateway answers those outside."""
    return [item["value"] for item in (found.get("status") or {}).get("addresses") or []]


def entrance(cluster: Cluster, name: str, namespace: str) -> tuple[str, int]:
    """Where people outside find a Gateway: an address ("" where only the cluster has one) and the port for HTTPS."""
    found = gateway(cluster, name, namespace)
    outer, behind = port(found, "HTTPS"), service(cluster, name, namespace)
    kind = behind["spec"]["type"] if behind else ""
    if behind and kind == "NodePort":
        return node_address(cluster), next(
            item["nodePort"] for item in behind["spec"]["ports"] if item["port"] == outer
        )
    return next(iter([] if kind == "ClusterIP" else addresses(found)), ""), outer


def node_address(cluster: Cluster) -> str:
    """The internal address of a node, at which its node ports answer: of one that is ready, if there is any."""

    def is_lost(node: Object) -> bool:
        return conditions(node).get("Ready", {}).get("status") != "True"

    for node in sorted(cluster.list("v1", "Node"), key=is_lost):
        for address in node["status"]["addresses"]:
            if address["type"] == "InternalIP":
                return str(address["address"])
    raise PlatformError("the cluster has no node with an internal address")


def url(host: str, port: int) -> str:
    """The URL of a host at the edge."""
    return f"https://{host}" if port == 443 else f"https://{host}:{port}"


def curl(address: str, port: int, authority_file: str) -> str:
    """How `curl` reaches any host at the edge without a name server that knows it; the URL follows."""
    trust = [f"--cacert {authority_file}"] if authority_file else []
    return " ".join(["curl", *trust, f"--resolve '*:{port}:{address}'"])


def authority(cluster: Cluster, issuer: str, namespace: str) -> str:
    """The certificate (PEM) of the authority that signs the edge's certificate; `namespace` is cert-manager's.

    Empty where no issuer is named, and for one that has no authority here: others vouch for its certificates.
    """
    try:
        return certificates.authority(cluster, issuer, namespace) if issuer else ""
    except ApiError:
        raise
    except PlatformError:
        return ""


def keep_authority(cluster: Cluster, edge: Mapping[str, Any], directory: Path) -> str:
    """Write the certificate of the edge's own authority beside a run's report, which is in `directory`.

    `edge` names its `issuer` and `issuer_namespace`. Returns the path as people see it; empty where there is no such
    authority.
    """
    certificate = authority(cluster, str(edge.get("issuer") or ""), str(edge.get("issuer_namespace") or ""))
    if not certificate:
        return ""
    write_text(directory / AUTHORITY_FILE, certificate)
    return os.path.relpath(directory.parent / "latest" / AUTHORITY_FILE)


def connections(
    address: str, port: int, host: str, trusted: ssl.SSLContext | None, at_once: int = 1
) -> urllib3.HTTPConnectionPool:
    """Connections to `address` that ask there for `host`, as a client does whose name server knows it.

    With the authorities `trusted` they speak TLS, and the certificate must be one for `host`. No request is repeated,
    no redirect is followed unless it is asked for; each needs the header Host. `at_once` are kept open.
    """
    if trusted is None:
        return urllib3.HTTPConnectionPool(address, port, maxsize=at_once, retries=False)
    return urllib3.HTTPSConnectionPool(
        address,
        port,
        maxsize=at_once,
        retries=False,
        ssl_context=trusted,
        server_hostname=host,
        assert_hostname=host,
    )


def unseen(found: Object, route: Object | None = None) -> str:
    """Which of a Gateway and a route on it no controller has looked at as it is now; empty where all were."""
    whole = {**found, "kind": "Gateway"}
    if not _looked_at(found, (found.get("status") or {}).get("conditions") or []):
        return f"no controller has looked at {title(whole)}"
    if route is not None and not any(_looked_at(route, parent["conditions"]) for parent in _parents(found, route)):
        return f"no controller has looked at {title({**route, 'kind': 'HTTPRoute'})} for {title(whole)}"
    return ""


def complaints(found: Object, route: Object | None = None, behind: Object | None = None) -> list[str]:
    """What is wrong by the status of a Gateway, its listeners, and a route on it; one line each.

    `behind` is its Service: only one for a load balancer waits for an address, others are reached by the nodes'.
    """
    whole = {**found, "kind": "Gateway"}
    status = found.get("status") or {}
    addressed = behind is None or behind["spec"]["type"] == "LoadBalancer"
    about = [item for item in status.get("conditions") or [] if addressed or item.get("reason") != "AddressNotAssigned"]
    lines = list(_untrue(title(whole), about))
    for listener in status.get("listeners") or []:
        lines += _untrue(f"listener {listener['name']} of {title(whole)}", listener.get("conditions") or [])
    for parent in _parents(found, route) if route else []:
        lines += _untrue(title({**(route or {}), "kind": "HTTPRoute"}), parent.get("conditions") or [])
    return list(dict.fromkeys(lines))


def _parents(found: Object, route: Object) -> list[Mapping[str, Any]]:
    """What was said of a route as one on this Gateway."""
    parents = (route.get("status") or {}).get("parents") or []
    return [item for item in parents if item["parentRef"]["name"] == found["metadata"]["name"]]


def _looked_at(obj: Object, conditions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether some conditions are there, and about the object as it is now."""
    generation = obj["metadata"].get("generation", 0)
    known = [item for item in conditions if item.get("status") != "Unknown"]
    return bool(known) and all(item.get("observedGeneration", generation) >= generation for item in known)


def _untrue(what: str, conditions: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for condition in conditions:
        if condition["type"] in GOOD and condition["status"] == "False":
            yield f"{what} is not {condition['type']}: {condition.get('reason')}: {condition.get('message')}"


def router(cluster: Cluster, name: str, namespace: str) -> str:
    """The address of the router that serves a Route of OpenShift.

    Raises PlatformError where there is no such Route, or no router has taken it.
    """
    found = cluster.get(ROUTES_API, "Route", name, namespace)
    if found is None:
        raise PlatformError(f"Route {namespace}/{name} does not exist")
    refusals = []
    for ingress in (found.get("status") or {}).get("ingress") or []:
        admitted = [item for item in ingress.get("conditions") or [] if item["type"] == "Admitted"]
        if any(item["status"] == "True" for item in admitted):
            return str(ingress.get("routerCanonicalHostname") or ingress["host"])
        refusals += [f"{item.get('reason')}: {item.get('message')}" for item in admitted]
    raise PlatformError(f"no router has taken Route {namespace}/{name}" + "".join(f": {each}" for each in refusals[:1]))
