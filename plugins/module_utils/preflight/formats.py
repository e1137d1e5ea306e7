# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Formats of values, by the ends of variables' names: `mlflow_namespace` is a DNS label because it ends so.

A role's meta/preflight.yml names the format of the few variables whose names do not tell.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.mlops.platform.plugins.module_utils import certificates, database
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from kubernetes.utils.quantity import parse_quantity

Fault = tuple[str, Any, str]
"""Where below the value ("" for itself, ".limits.memory"), the value found there, what is allowed."""
Format = Callable[[Any], Iterator[Fault]]

MEBIBYTE = 1024**2
LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
LABEL_VALUE = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
HOST = r"[A-Za-z0-9]([-A-Za-z0-9.]{0,251}[A-Za-z0-9])?"
# The grammar of https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/
QUANTITY = re.compile(r"\+?(\d+(\.\d*)?|\.\d+)(m|k|[MGTPE]|[KMGTPE]i|[eE][+-]?\d+)?")


def _pattern(pattern: str, allowed: str, longest: int = 253) -> Format:
    """Text that matches from its beginning to its end and is not too long."""
    compiled = re.compile(pattern)

    def check(value: Any) -> Iterator[Fault]:
        if not isinstance(value, str) or len(value) > longest or not compiled.fullmatch(value):
            yield "", value, allowed

    return check


def _between(lowest: int, highest: int | None, what: str) -> Format:
    """A number in a range."""
    allowed = f"{what} of {lowest} to {highest}" if highest else f"{what}, {lowest} or more"

    def check(value: Any) -> Iterator[Fault]:
        if not isinstance(value, int) or value < lowest or (highest is not None and value > highest):
            yield "", value, allowed

    return check


def _network(value: Any) -> Iterator[Fault]:
    try:
        ipaddress.ip_network(value)
    except ValueError as error:
        yield "", value, f"a network such as 10.244.0.0/16 ({error})"


def _network_or_primary(value: Any) -> Iterator[Fault]:
    if value != "primary":
        yield from ((below, found, f"primary, or {allowed}") for below, found, allowed in _network(value))


def _address(value: Any) -> Iterator[Fault]:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        yield "", value, "an IP address"


def _host(value: Any) -> Iterator[Fault]:
    if not is_host(str(value)):
        yield "", value, "an IP address or a host name"


def is_host(text: str) -> bool:
    """Whether a text is an IP address or a host name; what looks like an address must be one."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return re.fullmatch(HOST, text) is not None and not re.fullmatch(r"[\d.]+", text) and ".." not in text
    return True


def _url(value: Any) -> Iterator[Fault]:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and is_host(parts.hostname or "") and parts.port != 0
        good = good and not re.search(r"\s", value)
    except (ValueError, AttributeError, TypeError):  # a port that is none, brackets that do not close
        good = False
    if not good:
        yield "", value, "a URL such as https://s3.example.org"


def _read_by(reader: Callable[[str], object], allowed: str) -> Format:
    """What another part of the collection reads; its PlatformError says what is wrong."""

    def check(value: Any) -> Iterator[Fault]:
        try:
            reader(str(value))
        except PlatformError as error:
            yield "", value, f"{allowed} ({str(error).partition(': ')[2]})"

    return check


def amount(value: Any) -> Decimal | None:
    """A Kubernetes quantity as a number; None for what is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    return parse_quantity(str(value)) if QUANTITY.fullmatch(str(value)) else None


def _quantity(what: str, least: int | Decimal) -> Format:
    example = "such as 512Mi or 20Gi" if least >= MEBIBYTE else "such as 250m or 2"

    def check(value: Any) -> Iterator[Fault]:
        found = amount(value)
        text = str(value).strip()
        if found is None:
            meant = next((t for t in (text.rstrip("bB"), text.replace(" ", "")) if t != value and amount(t)), "")
            yield "", value, f"{what}, a Kubernetes quantity {example}" + (f"; did you mean {meant}?" if meant else "")
        elif found < least:
            small = f"at least {least // MEBIBYTE}Mi; m is a thousandth" if least >= MEBIBYTE else "more than nothing"
            yield "", value, f"{what}, {small}"

    return check


_SIZE = _quantity("a size", MEBIBYTE)
_RESOURCES: dict[str, Format] = {
    "cpu": _quantity("CPUs", Decimal("0.001")),
    "memory": _quantity("memory", MEBIBYTE),
    "ephemeral-storage": _SIZE,
}
_OTHER_RESOURCE = _quantity("a number", Decimal("0.001"))


def _resources(value: Any) -> Iterator[Fault]:
    """Requests and limits of a container: known keys, quantities, no request above its limit."""
    if not isinstance(value, Mapping):
        yield "", value, "a mapping with requests and limits"
        return
    for part, amounts in value.items():
        if part not in ("requests", "limits"):
            yield f".{part}", amounts, "nothing; allowed are requests and limits"
        elif not isinstance(amounts, Mapping):
            yield f".{part}", amounts, "a mapping of resources such as cpu and memory"
        else:
            for name, quantity in amounts.items():
                known = name in _RESOURCES or "/" in name or name.startswith("hugepages-")
                if not known:
                    yield f".{part}.{name}", quantity, f"nothing; allowed are {', '.join(_RESOURCES)} and domain/name"
                else:
                    check = _RESOURCES.get(name, _OTHER_RESOURCE)
                    yield from ((f".{part}.{name}", found, allowed) for _, found, allowed in check(quantity))
    requests, limits = (part if isinstance(part, Mapping) else {} for part in map(value.get, ("requests", "limits")))
    for name in sorted(set(requests) & set(limits)):
        request, limit = amount(requests[name]), amount(limits[name])
        if request is not None and limit is not None and request > limit:
            yield f".requests.{name}", requests[name], f"at most the limit, which is {limits[name]}"


def _ports(value: Any) -> Iterator[Fault]:
    if port_range(value) is None:
        yield "", value, "a range of ports such as 30000-32767"


def port_range(value: Any) -> range | None:
    """The ports of a text such as 30000-32767; None for what is no range of ports."""
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", str(value))
    ports = range(int(found[1]), int(found[2]) + 1) if found else range(0)
    return ports if ports and ports[0] > 0 and ports[-1] < 65536 else None


FORMATS: dict[str, Format] = {
    "address": _address,
    "bucket": _pattern(r"(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", "3 to 63 of a-z, 0-9, . and -", 63),
    "certificates": _read_by(certificates.read, "PEM text or the path of a PEM file"),
    "cidr": _network,
    "count": _between(1, None, "a number"),
    "device": _pattern(r"[^\s/]+", "the name of a network device, at most 15 characters", 15),
    "dns_label": _pattern(LABEL, "a DNS label: 1 to 63 of a-z, 0-9 and -, no - at its ends", 63),
    "dns_name": _pattern(rf"{LABEL}(\.{LABEL})*", "a DNS name: labels of a-z, 0-9 and -, with dots between them"),
    "host": _host,
    "host_pattern": _pattern(r"[\w*.-]+(:(\d{1,5}|\*))?", "a host name, with * for any part, and :port if need be"),
    "identifier": _pattern(r"[a-z_][a-z0-9_]*", "a name in SQL: a-z, 0-9 and _, not longer than 63", 63),
    "image": _pattern(
        rf"({HOST}(:\d+)?/)?[a-z0-9._/-]+(:[\w][\w.-]{{0,127}})?(@sha256:[0-9a-f]{{64}})?",
        "an image reference: [registry/]name[:tag][@sha256:...]",
        500,
    ),
    "label_key": _pattern(
        rf"({LABEL}(\.{LABEL})*/)?{LABEL_VALUE}", "the key of a label: a name, or domain/name, such as nvidia.com/gpu"
    ),
    "label_value": _pattern(rf"({LABEL_VALUE})?", "the value of a label: 1 to 63 letters, digits, -, _ and .", 63),
    "mail_address": _pattern(r"[^@\s]+@[^@\s]+", "an address: name@domain"),
    "network_or_primary": _network_or_primary,
    "number": _between(0, None, "a number"),
    "percent": _between(1, 100, "a percentage"),
    "port": _between(1, 65535, "a port"),
    "port_range": _ports,
    "postgresql_uri": _read_by(lambda uri: database.parse(uri, "URI"), "the URI of a PostgreSQL database"),
    "registry": _pattern(rf"{HOST}(:\d{{1,5}})?(/[a-z0-9._/-]+)?", "a registry: host[:port][/path]"),
    "resource_name": _pattern(rf"{LABEL}(\.{LABEL})*/[\w.-]{{1,63}}", "the name of a resource, such as nvidia.com/gpu"),
    "resources": _resources,
    "s3_uri": _pattern(r"s3://(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/\S*)?", "s3://bucket[/folder]", 1000),
    "size": _SIZE,
    "url": _url,
    "version": _pattern(r"[\w.+-]+", "a version, in letters, digits, '.', '+' and '-'"),
    "word": _pattern(r"[^\s:/'\"\\]+", "a name without spaces, colons, slashes and quotes"),
    "word_or_nothing": _pattern(r"[^\s:/'\"\\]*", "a name without spaces, colons, slashes and quotes, or nothing"),
}

# The format of a variable whose name is, or ends in, one of these words; the longest counts.
BY_SUFFIX = {
    "address": "address",
    "buckets": "bucket",
    "ca_certificates": "certificates",
    "cidr": "cidr",
    "days": "count",
    "device": "device",
    "domain": "dns_name",
    "host": "host",
    "hosts": "host_pattern",
    "image": "image",
    "mib": "count",
    "mirror": "registry",
    "namespace": "dns_label",
    "nameservers": "address",
    "node_name": "dns_name",
    "node_port": "port",
    "percent": "percent",
    "pods": "count",
    "port": "port",
    "registry": "registry",
    "replicas": "count",
    "resources": "resources",
    "seconds": "count",
    "secret": "dns_name",
    "size": "size",
    "storage_class": "dns_name",
    "url": "url",
    "username": "word",
    "version": "version",
    "workers": "count",
}


def format_of(path: str, own: Mapping[str, str]) -> Format | None:
    """The format of a variable, or of `variable.key` inside it; None where its name says nothing.

    `own` holds the exceptions of a role by path. Raises KeyError for an exception that names no format.
    """
    if path in own:
        return FORMATS[own[path]]
    name = path.rpartition(".")[2]
    found = [suffix for suffix in BY_SUFFIX if name == suffix or name.endswith(f"_{suffix}")]
    return FORMATS[BY_SUFFIX[max(found, key=len)]] if found else None
