"""Writes tables into the README of roles: of variables, from argument_specs.yml and defaults, and of NetworkPolicies.

Each replaces what stands between its two marks. Run it after changing a variable; policies are those of the golden
files, which are written anew before:

    python tools/role_docs.py
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
REASON = "mlops.platform/reason"
PROFILE = re.compile(r"\{\{ (__\w+_profiles)\[platform_profile\]\.(\w+) \}\}")
LONGEST = 60


def load(path: Path) -> dict[str, Any]:
    """The YAML of a file; empty where there is none."""
    found: dict[str, Any] = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}
    return found


def table(role: Path) -> str:
    """The table of a role's variables: name, type, default, description; nested ones below their own."""
    defaults, variables = load(role / "defaults" / "main.yml"), load(role / "vars" / "main.yml")
    lines = ["| variable | type | default | |", "|---|---|---|---|"]
    seen: set[str] = set()
    for entry in load(role / "meta" / "argument_specs.yml")["argument_specs"].values():
        for name, option in (entry.get("options") or {}).items():
            if name in seen:
                continue
            seen.add(name)
            default = "required" if option.get("required") else _default(defaults.get(name, ""), variables)
            lines.append(_row(f"`{name}`", option, default))
            lines += [_row(f"&nbsp;&nbsp;`.{path}`", inner, "") for path, inner in _inner(option)]
    return "\n".join(lines)


def _inner(option: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, inner in (option.get("options") or {}).items():
        yield prefix + name, inner
        yield from _inner(inner, f"{prefix}{name}.")


def _row(name: str, option: dict[str, Any], default: str) -> str:
    kind = f"list of {option['elements']}" if option["type"] == "list" else option["type"]
    choices = ", ".join(f"`{choice}`" for choice in option.get("choices") or [])
    text = re.sub(r"C\(([^)]*)\)", r"`\1`", option["description"])
    return f"| {name} | {kind} | {default} | {text}{f' One of {choices}.' if choices else ''} |"


def _default(value: Any, variables: dict[str, Any]) -> str:
    """A default for people: those of all profiles, a short value as it is, a long one by its file."""
    found = PROFILE.fullmatch(value) if isinstance(value, str) else None
    if found:
        profiles = variables[found[1]]
        return ", ".join(f"{_plain(values[found[2]])} ({profile})" for profile, values in profiles.items())
    text = _plain(value)
    return text if len(text) <= LONGEST else "see `defaults/main.yml`"


def _plain(value: Any) -> str:
    if isinstance(value, (dict, list)):
        text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()
    else:
        text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text.replace('|', chr(92) + '|')}`" if text else "empty"


def policies(role: Path) -> str:
    """The table of the NetworkPolicies that a role makes in any of the reviewed inventories: name, way, reason."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests" / "golden").glob(f"*/{role.name}.yml")):
        for item in yaml.load_all(path.read_text(encoding="utf-8"), Loader=yaml.CSafeLoader):
            if item.get("kind") == "NetworkPolicy":
                name, way = item["metadata"]["name"], item["spec"]["policyTypes"]
                told = {"Ingress": "in", "Egress": "out"}.get("".join(way), "neither in nor out")
                found.setdefault(name, f"| `{name}` | {told} | {item['metadata']['annotations'][REASON]} |")
    return "\n".join(["| policy | lets | because |", "|---|---|---|", *found.values()])


TABLES: dict[str, Callable[[Path], str]] = {"variables": table, "policies": policies}


def marks(name: str) -> tuple[str, str]:
    """Between what the table of a name stands."""
    return f"<!-- {name} -->", f"<!-- end of {name} -->"


def updated(readme: str, role: Path) -> str:
    """The README of a role with its tables between their marks, as far as it has them."""
    for name, made in TABLES.items():
        first, last = marks(name)
        before, begin, rest = readme.partition(first)
        _, end, after = rest.partition(last)
        if begin and end:
            readme = f"{before}{begin}\n{made(role)}\n{end}{after}"
    return readme


def main() -> int:
    """Write the READMEs that differ; returns 1 where one did, so that a test can tell."""
    changed = False
    for path in sorted((ROOT / "roles").glob("*/README.md")):
        old = path.read_text(encoding="utf-8")
        new = updated(old, path.parent)
        if new != old:
            path.write_text(new, encoding="utf-8")
            print(f"written: {path.relative_to(ROOT)}")
            changed = True
    return int(changed)


if __name__ == "__main__":
    sys.exit(main())
