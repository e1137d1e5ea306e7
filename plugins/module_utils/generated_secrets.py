"""Secrets that are generated once, kept in the cluster and read back by every later run.

Their values pass from the random source to the API server and are never an Ansible variable.
"""

from __future__ import annotations

import base64
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

    A value may refer to other keys of the same Secret as `{key}` (dashes become underscores); what
    is put there is percent-encoded, fit for a URL. `copies` are further namespaces that get the
    same Secret.
    """

    name: str
    namespace: str
    generate: tuple[str, ...] = ()
    values: Mapping[str, str] = field(default_factory=dict)
    copies: tuple[str, ...] = ()

    @classmethod
    def parse(cls, raw: Mapping[str, Any], namespace: str) -> SecretSpec:
        """A spec from a role's data; unknown keys are refused."""
        allowed = {"name", "namespace", "generate", "values", "copies"}
        unknown = set(raw) - allowed
        if unknown or not raw.get("name"):
            raise PlatformError(f"secrets: {dict(raw)!r} must have a name and no other keys than {sorted(allowed)}")
        own = str(raw.get("namespace") or namespace)
        copies = dict.fromkeys(str(item) for item in raw.get("copies", []) if item != own)
        return cls(str(raw["name"]), own, tuple(raw.get("generate", [])), dict(raw.get("values", {})), tuple(copies))


def complete(
    spec: SecretSpec, existing: Mapping[str, str], random: Callable[[], str] | None = None
) -> dict[str, str]:
    """All values of a Secret: what exists is kept, what is missing generated, the rest derived from both."""
    make = random or (lambda: "".join(secrets.choice(ALPHABET) for _ in range(LENGTH)))
    generated = {key: existing.get(key) or make() for key in spec.generate}
    plain = {key: value for key, value in spec.values.items() if "{" not in value}
    known = {key.replace("-", "_"): quote(value, safe="") for key, value in {**generated, **plain}.items()}
    try:
        derived = {key: value.format(**known) for key, value in spec.values.items() if "{" in value}
    except KeyError as error:
        raise PlatformError(f"secrets: {spec.name} refers to {error}, which is none of its keys") from error
    return {**generated, **plain, **derived}


def ensure(cluster: Cluster, specs: Sequence[SecretSpec], component: str, check_mode: bool = False) -> list[str]:
    """Create or complete Secrets; returns "namespace/name" of those that were written."""
    written: list[str] = []
    for spec in specs:
        current = {space: cluster.secret(spec.name, space) or {} for space in (spec.namespace, *spec.copies)}
        wanted = complete(spec, current[spec.namespace])
        for namespace, values in current.items():
            if values != wanted:
                if not check_mode:
                    cluster.apply(_manifest(spec.name, namespace, wanted, component))
                written.append(f"{namespace}/{spec.name}")
    return written


def _manifest(name: str, namespace: str, values: Mapping[str, str], component: str) -> Manifest:
    labels = {"app.kubernetes.io/managed-by": "mlops.platform", COMPONENT_LABEL: component}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace, "labels": labels},
        "data": {key: base64.b64encode(value.encode()).decode() for key, value in values.items()},
    }
