"""Components that are nothing but objects: a collection of roles and an inventory, written for one measurement."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

ROLE = Path(__file__).parent / "role"
SERVER = "server"
Requires = Mapping[str, Sequence[str]]
"""The components that each component builds on."""


def names(count: int) -> list[str]:
    """The names of `count` components."""
    return [f"c{number:02d}" for number in range(count)]


def chain(count: int) -> dict[str, list[str]]:
    """Components of which each builds on the one before it."""
    found = names(count)
    return {name: found[place - 1 : place] if place else [] for place, name in enumerate(found)}


def fan(count: int) -> dict[str, list[str]]:
    """Components that all build on the first."""
    first, *rest = names(count)
    return {first: []} | {name: [first] for name in rest}


SHAPES = {"chain": chain, "fan": fan}


def spec(name: str, requires: Sequence[str], checked: bool) -> dict[str, object]:
    """The description of a component. Its check asks the server through a Service of the component's own."""
    check = {
        "name": "answers",
        "type": "http",
        "service": {"name": f"{name}-0006", "port": 8080},
        "path": "/health",
        "contains": "OK",
    }
    return {
        "name": name,
        "version": "1.0.0",
        "namespace": "{{ platform_namespace }}",
        "templates": SERVER if name == SERVER else "objects",
        "requires": dict.fromkeys(requires, ""),
        "checks": [check] if checked else [],
    }


def write(directory: Path, requires: Requires, checked: bool) -> Path:
    """Write the roles of some components below `directory`/collections; returns their inventory."""
    for name, needs in requires.items():
        role = directory / "collections" / "ansible_collections" / "bench" / "synthetic" / "roles" / name
        (role / "vars").mkdir(parents=True, exist_ok=True)
        for part in ("tasks", "templates", "meta"):
            if not (role / part).is_symlink():
                (role / part).symlink_to(ROLE / part)
        content = {f"__{name}_spec": spec(name, needs, checked)}
        (role / "vars" / "main.yml").write_text(json.dumps(content), encoding="utf-8")
    hosts = {name: {"component_role": f"bench.synthetic.{name}"} for name in requires}
    local = {"ansible_connection": "local", "ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    inventory = directory / "inventory" / "hosts.yml"
    inventory.parent.mkdir(exist_ok=True)
    groups = {"platform": {"vars": local, "children": {"components": {"hosts": hosts}}}}
    inventory.write_text(json.dumps(groups), encoding="utf-8")
    return inventory
