# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets that are generated once, kept in the cluster and read back by every later run.

Their values pass from the random source to the API server and are never an Ansible variable.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import string
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import COMPONENT_LABEL, Manifest

ALPHABET = string.ascii_letters + string.digits
LENGTH = 32
"""Characters of a generated value: 62 ** 32 possibilities are 190 bits."""


@dataclass(frozen=True)
class SecretSpec:
    """One Secret: `generate` names keys with random values, `values` keys that are given.

    `derive` has keys made of the others: `{key}` (dashes become underscores) is replaced by that
    key's value, percent-encoded, fit for a URL; `{key:htpasswd}` by what a file of logins has in its place. `sign` has
    keys that are bearer tokens: {key, claims}, where `key` is the one whose value signs the claims. `copies` are
    further namespaces that get the same Secret. `type` is Kubernetes' type of a Secret, Opaque where it is "".
    """

    name: str
    namespace: str
    generate: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    derive: Mapping[str, str] = field(default_factory=dict)
    sign: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    copies: tuple[str, ...] = ()
    type: str = ""

    @classmethod
    def parse(cls, raw: Mapping[str, Any], namespace: str) -> SecretSpec:
        """A spec from a role's data; unknown keys are refused."""
        allowed = {"name", "namespace", "generate", "values", "derive", "sign", "copies"}
        unknown = set(raw) - allowed
        if unknown or not raw.get("name"):
            raise PlatformError(f"secrets: {dict(raw)!r} must have a name and no other keys than {sorted(allowed)}")
        own = str(raw.get("namespace") or namespace)
        copies = dict.fromkeys(str(item) for item in raw.get("copies", []) if item != own)
        return cls(
            name=str(raw["name"]),
            namespace=own,
            generate=tuple(raw.get("generate", [])),
            values=dict(raw.get("values", {})),
            derive=dict(raw.get("derive", {})),
            sign=dict(raw.get("sign", {})),
            copies=tuple(copies),
        )


class _Derived(str):
    """A value as the pattern of another key asks for it."""

    __slots__ = ()

    def __format__(self, how: str) -> str:
        if how == "htpasswd":
            # The one hash that Envoy reads (https://gateway.envoyproxy.io/docs/tasks/security/basic-auth/). Nothing is
            # lost by its age: who knows it cannot try 190 random bits.
            return "{SHA}" + base64.b64encode(hashlib.sha1(self.encode(), usedforsecurity=False).digest()).decode()
        return format(quote(str(self), safe=""), how)


def complete(spec: SecretSpec, existing: Mapping[str, str], random: Callable[[], str] | None = None) -> dict[str, str]:
    """All values of a Secret: what exists is kept, what is missing generated, the rest derived from both."""
    make = random or (lambda: "".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))
    own = {key: existing.get(key) or make() for key in spec.generate} | dict(spec.values)
    known = {key.replace("-", "_"): _Derived(value) for key, value in own.items()}
    try:
        derived = {key: pattern.format(**known) for key, pattern in spec.derive.items()}
        signed = {key: token(own[said["key"]], said["claims"]) for key, said in spec.sign.items()}
        return own | derived | signed
    except (KeyError, IndexError, ValueError) as error:
        raise PlatformError(f"secrets: {spec.name} derives a key from {error}, which is none of its keys") from error


def token(key: str, claims: Mapping[str, Any]) -> str:
    """A JSON Web Token (RFC 7519) of claims, signed with HMAC and SHA-512; the same claims make the same token."""
    header = {"alg": "HS512", "typ": "JWT"}
    parts = [json.dumps(part, separators=(",", ":"), sort_keys=True).encode() for part in (header, claims)]
    said = b".".join(map(_encoded, parts))
    return b".".join((said, _encoded(hmac.digest(key.encode(), said, "sha512")))).decode()


def _encoded(part: bytes) -> bytes:
    return base64.urlsafe_b64encode(part).rstrip(b"=")


def ensure(cluster: Cluster, specs: Sequence[SecretSpec], component: str, check_mode: bool = False) -> list[str]:
    """Create or complete Secrets; returns "namespace/name" of those that were written."""
    written: list[str] = []
    for spec in specs:
        current = {space: cluster.secret(spec.name, space) or {} for space in (spec.namespace, *spec.copies)}
        wanted = complete(spec, current[spec.namespace])
        for namespace, values in current.items():
            if values != wanted:
                if not check_mode:
                    cluster.apply(_manifest(spec, namespace, wanted, component))
                written.append(f"{namespace}/{spec.name}")
    return written


def _manifest(spec: SecretSpec, namespace: str, values: Mapping[str, str], component: str) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "mlops.platform", COMPONENT_LABEL: component}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": spec.name, "namespace": namespace, "labels": labels},
        **({"type": spec.type} if spec.type else {}),
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
