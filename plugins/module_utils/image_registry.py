# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a registry holds, asked over its HTTP API (OCI distribution specification, version 1.1)."""

from __future__ import annotations

import json
import os
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

MANIFESTS = (
    "application/vnd.oci.image.index.v1+json,"
    "application/vnd.oci.image.manifest.v1+json,"
    "application/vnd.docker.distribution.manifest.list.v2+json,"
    "application/vnd.docker.distribution.manifest.v2+json"
)
SECONDS = 10  # a registry that takes longer to say what it has is not usable


def is_local(reference: str) -> bool:
    """Whether the registry of `reference` is on this machine, where it speaks plain HTTP."""
    return reference.partition("/")[0].partition(":")[0] in {"localhost", "127.0.0.1"}


def manifest_url(reference: str) -> str:
    """The address of the manifest of `<host>/<path>:<tag>`."""
    host, _, path = reference.partition("/")
    name, _, tag = path.rpartition(":")
    return f"{'http' if is_local(host) else 'https'}://{host}/v2/{name}/manifests/{tag}"


def held(references: Iterable[str]) -> set[str]:
    """Those of `references` that their registries have, all asked at once."""
    asked = list(references)
    with ThreadPoolExecutor(max_workers=16) as pool:
        return {reference for reference, there in zip(asked, pool.map(holds, asked), strict=True) if there}


def holds(reference: str) -> bool:
    """Whether the registry has `reference`; PlatformError where it does not answer or refuses."""
    url = manifest_url(reference)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({} if is_local(reference) else None))
    try:
        try:
            return _has(opener, url, "")
        except urllib.error.HTTPError as error:
            if error.code != 401:
                raise
            challenge = error.headers.get("WWW-Authenticate", "")
            return _has(opener, url, _authorization(opener, challenge, login(reference.partition("/")[0])))
    except urllib.error.HTTPError as error:
        hint = ": log in with 'buildah login'" if error.code in {401, 403} else ""
        raise PlatformError(f"The registry of {reference} answered {error.code} {error.reason}{hint}") from error
    except (urllib.error.URLError, TimeoutError) as error:
        reason = getattr(error, "reason", error)
        raise PlatformError(f"The registry of {reference} does not answer: {reason}") from error


def login(host: str) -> str:
    """The base64 of `user:password` that buildah or docker stored for `host`, or nothing."""
    places = [
        Path(os.environ.get("REGISTRY_AUTH_FILE", "/run/containers/0/auth.json")),
        Path.home() / ".docker" / "config.json",
    ]
    for place in places:
        if place.is_file():
            entry = json.loads(place.read_text()).get("auths", {}).get(host, {})
            if entry.get("auth"):
                return str(entry["auth"])
    return ""


def _has(opener: urllib.request.OpenerDirector, url: str, authorization: str) -> bool:
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": MANIFESTS})
    if authorization:
        request.add_header("Authorization", authorization)
    try:
        with opener.open(request, timeout=SECONDS):
            return True
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return False
        raise


def _authorization(opener: urllib.request.OpenerDirector, challenge: str, credentials: str) -> str:
    """What answers a registry's `challenge`: the credentials, or a token that its token service gives for them."""
    basic = f"Basic {credentials}" if credentials else ""
    fields = dict(re.findall(r'(\w+)="([^"]*)"', challenge))
    if not challenge.lower().startswith("bearer ") or "realm" not in fields:
        return basic
    query = urllib.parse.urlencode({key: fields[key] for key in ("service", "scope") if key in fields})
    request = urllib.request.Request(f"{fields['realm']}?{query}")
    if basic:
        request.add_header("Authorization", basic)
    with opener.open(request, timeout=SECONDS) as answer:
        told = json.load(answer)
    return f"Bearer {told.get('token') or told.get('access_token')}"
