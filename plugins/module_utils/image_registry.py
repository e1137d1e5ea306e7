"""What a registry holds, asked over its HTTP API (OCI distribution specification, version 1.1)."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json,"
    "application/vnd.oci.image.manifest.v1+json,"
    "application/vnd.docker.distribution.manifest.list.v2+json,"
    "application/vnd.docker.distribution.manifest.v2+json"
)


def is_local(reference: str) -> bool:
    """Whether the registry of `reference` is on this machine, where it speaks plain HTTP."""
    return reference.partition("/")[0].partition(":")[0] in ("localhost", "127.0.0.1")


def manifest_url(reference: str) -> str:
    """The address of the manifest of `<host>/<path>:<tag>`."""
    host, _, path = reference.partition("/")
    name, _, tag = path.rpartition(":")
    return f"{'http' if is_local(host) else 'https'}://{host}/v2/{name}/manifests/{tag}"


def holds(reference: str) -> bool:
    """Whether the registry has `reference`; PlatformError where it does not answer or refuses."""
    request = urllib.request.Request(manifest_url(reference), method="HEAD", headers={"Accept": MANIFESTS})
    proxies = urllib.request.ProxyHandler({} if is_local(reference) else None)
    try:
        with urllib.request.build_opener(proxies).open(request, timeout=10):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise PlatformError(f"The registry of {reference} answered {error.code} {error.reason}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise PlatformError(f"The registry of {reference} does not answer: {reason}") from error


def held(references: Iterable[str]) -> set[str]:
    """Those of `references` that their registries have, all asked at once."""
    asked = list(references)
    with ThreadPoolExecutor(max_workers=16) as pool:
        return {reference for reference, there in zip(asked, pool.map(holds, asked)) if there}
