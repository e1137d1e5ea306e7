# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A component as its role describes it: the typed form of `component_spec`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, TypeVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import SecretSpec

POD_SECURITY_LEVELS = ("privileged", "baseline", "restricted")
T = TypeVar("T")


@dataclass(frozen=True)
class Component:
    """What the engine needs to know of a component besides its templates.

    `templates` is the folder under the role's templates/ that holds the manifests. `requires` maps
    the components it builds on to the variable that names an external endpoint instead ("" where
    there is none); `after` names those that it comes after where the inventory has them. `upstream`
    are objects of other projects (see upstream.py). `rules` and `dashboards` are files of the role, which become
    objects (see observation.py). `namespaces` maps those it has besides its own to their Pod Security level. `access`
    says how people reach it. `observes` names the component that this one watches, and is `wanted` where anything does:
    what is not is removed.
    `timeout_seconds` bounds one wait for workloads, `checks_seconds` the quick checks after it.
    """

    name: str
    version: str
    namespace: str
    templates: str = ""
    pod_security: str = "restricted"
    requires: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    namespaces: Mapping[str, str] = field(default_factory=dict)
    upstream: tuple[Mapping[str, Any], ...] = ()
    rules: str = ""
    dashboards: str = ""
    secrets: tuple[SecretSpec, ...] = ()
    configure: tuple[Mapping[str, Any], ...] = ()
    checks: tuple[Mapping[str, Any], ...] = ()
    access: tuple[Mapping[str, Any], ...] = ()
    observes: str = ""
    wanted: bool = True
    timeout_seconds: float = 300.0
    checks_seconds: float = 30.0

    @property
    def spaces(self) -> dict[str, str]:
        """All its namespaces with their Pod Security level, its own first."""
        return {self.namespace: self.pod_security, **self.namespaces}

    @classmethod
    def parse(cls, raw: Mapping[str, Any]) -> Component:
        """The component of a role's spec. Raises PlatformError naming a key that is unknown, missing or wrong."""
        name = str(raw.get("name") or "a component without a name")
        found = build(cls, raw, f"component_spec of {name}")
        for key, level in {"pod_security": found.pod_security, **_by_namespace(found.namespaces)}.items():
            if level not in POD_SECURITY_LEVELS:
                raise PlatformError(
                    f"component_spec of {name}: {key} is {level!r}; allowed are {', '.join(POD_SECURITY_LEVELS)}"
                )
        secrets = tuple(SecretSpec.parse(item, found.namespace) for item in raw.get("secrets", ()))
        return replace(found, secrets=secrets)


def _by_namespace(levels: Mapping[str, str]) -> dict[str, str]:
    return {f"namespaces.{space}": level for space, level in levels.items()}


def build(cls: type[T], raw: Mapping[str, Any], where: str) -> T:
    """An instance of a dataclass from plain data; `where` names the data in errors.

    Raises PlatformError for keys that the class does not have and for those it needs.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    needed = {name for name, item in known.items() if item.default is MISSING and item.default_factory is MISSING}
    unknown, missing = sorted(set(raw) - set(known)), sorted(needed - set(raw))
    if unknown:
        raise PlatformError(f"{where}: unknown key {unknown[0]!r}; allowed are {', '.join(sorted(known))}")
    if missing:
        raise PlatformError(f"{where}: the key {missing[0]!r} is missing")
    return cls(**raw)
