"""The shape of a role: each rule takes a role and yields what is wrong with it, one sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlops.platform.plugins.module_utils.checks import CHECKS
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.configure import STEPS
from programs import load_program

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"defaults", "files", "handlers", "meta", "patches", "tasks", "templates", "vars"}
FILES = {"README.md", "defaults/main.yml", "meta/argument_specs.yml", "meta/main.yml"}
COMPONENT_FILES = {"tasks/main.yml", "vars/main.yml"}
COMPONENT_SECTIONS = ("What is proven", "Reaching it", "Who may connect", "Variables")
SPEC_KEYS = {"name", "version", "namespace", "access", "checks"}
"""What a component says at least; the engine's own class knows the rest."""
OPTIONAL = {"model_api": {"existing"}, "iter8": {"existing", "local"}, "drift": {"existing", "local"},
            "gpu_node": {"existing", "local", "inventory"}}  # fmt: skip
"""Components that a site adds when it has what they are for, with the inventories that do without them."""
WATCHED = ("templates/monitoring/monitors.yml.j2", "files/monitoring/rules.yml", "files/monitoring/dashboard.json")
ON_HOSTS = {"gpu_node": {"tasks/host.yml", "tasks/release.yml"}}
"""Components that prepare hosts, too, with the tasks that do it there."""
UNWATCHED = {"iter8"}
"""Components that export nothing for Prometheus: what is known of all pods is all that is known of theirs."""
POLICIES = "templates/policies.yml.j2"
LOOKS = {"http"}
"""Checks that only look; all others are transactions."""
SECRET = re.compile(r"(?:password|secret_key|secret_access_key|token|private_key|store_uri|access_key_id)$")
TYPES: dict[str, type | tuple[type, ...]] = {
    "bool": bool, "dict": dict, "float": (float, int), "int": int, "list": list, "path": str, "str": str,
}  # fmt: skip
TYPE = re.compile(r"'?type'?: '?(\w+)")


def load(path: Path) -> Any:
    """The YAML of a file; empty where there is none."""
    return (yaml.safe_load(path.read_text(encoding="utf-8")) or {}) if path.exists() else {}


@dataclass(frozen=True)
class Role:
    """A role of the project at `root`."""

    root: Path
    name: str

    @property
    def path(self) -> Path:
        """Its folder."""
        return self.root / "roles" / self.name

    @cached_property
    def files(self) -> set[str]:
        """The names of its files, from its folder on."""
        return {path.relative_to(self.path).as_posix() for path in self.path.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts}  # fmt: skip

    @cached_property
    def entries(self) -> dict[str, dict[str, Any]]:
        """Its documented entry points."""
        found: dict[str, dict[str, Any]] = load(self.path / "meta" / "argument_specs.yml").get("argument_specs") or {}
        return found

    @cached_property
    def options(self) -> dict[str, dict[str, Any]]:
        """The documented variables of all entry points."""
        return {
            name: option for entry in self.entries.values() for name, option in (entry.get("options") or {}).items()
        }

    @cached_property
    def defaults(self) -> dict[str, Any]:
        """Its public variables with their defaults."""
        found: dict[str, Any] = load(self.path / "defaults" / "main.yml")
        return found

    @cached_property
    def private(self) -> dict[str, Any]:
        """The variables of vars/."""
        return {key: value for path in sorted((self.path / "vars").rglob("*.yml")) for key, value in load(path).items()}

    @cached_property
    def spec(self) -> dict[str, Any]:
        """What a component says of itself, untemplated; empty for roles that are no components."""
        found: dict[str, Any] = self.private.get(f"__{self.name}_spec") or {}
        return found

    @property
    def readme(self) -> str:
        """Its README; empty where there is none."""
        path = self.path / "README.md"
        return path.read_text(encoding="utf-8") if path.exists() else ""

    @property
    def is_component(self) -> bool:
        """Whether the role provisions a component of its own name."""
        return bool(self.spec)


def roles(root: Path = ROOT) -> list[Role]:
    """All roles of a project."""
    return [Role(root, path.name) for path in sorted((root / "roles").iterdir()) if path.is_dir()]


def has_its_files(role: Role) -> Iterator[str]:
    """Every role has the same files, and a component those of a component."""
    wanted = FILES | (COMPONENT_FILES if role.is_component else set())
    yield from (f"{name} is missing" for name in sorted(wanted - role.files))
    folders = {name.partition("/")[0] for name in role.files if "/" in name}
    yield from (f"{name}/ has no place in a role" for name in sorted(folders - FOLDERS))
    manifests = {name for name in role.files if re.fullmatch(r"templates/\w[\w-]*\.yml\.j2", name)}
    if role.is_component and not manifests - {POLICIES}:
        yield "templates/*.yml.j2 is missing"


def names_itself(role: Role) -> Iterator[str]:
    """Who made it, under which licence, and for which Ansible are said alike everywhere."""
    info = load(role.path / "meta" / "main.yml").get("galaxy_info") or {}
    wanted = {"author": "The mlops.platform maintainers", "license": "GPL-3.0-or-later", "min_ansible_version": "2.19"}
    yield from (f"meta/main.yml: {key} is {info.get(key)!r}, not {value!r}" for key, value in wanted.items()
                if info.get(key) != value)  # fmt: skip
    if not info.get("description"):
        yield "meta/main.yml: description is missing"


def has_documented_entry_points(role: Role) -> Iterator[str]:
    """Every entry point is a file of tasks and is described."""
    if not role.entries:
        yield "meta/argument_specs.yml: no entry point"
    for name, entry in role.entries.items():
        if f"tasks/{name}.yml" not in role.files:
            yield f"tasks/{name}.yml is missing, but documented"
        if not entry.get("short_description") or not entry.get("description"):
            yield f"{name}: a short_description and a description are needed"


def has_defaults_for_its_variables(role: Role) -> Iterator[str]:
    """What is documented has a default, what has a default is documented, and both carry the role's name."""
    optional = {name for name, option in role.options.items() if not option.get("required")}
    yield from (f"{name}: no default in defaults/main.yml" for name in sorted(optional - set(role.defaults)))
    yield from (f"{name}: not in meta/argument_specs.yml" for name in sorted(set(role.defaults) - optional))
    public = sorted({*role.options, *role.defaults})
    yield from (f"{name}: its name must begin with {role.name}_" for name in public
                if not name.startswith(f"{role.name}_"))  # fmt: skip
    yield from (f"{name}: its name must begin with __{role.name}_" for name in sorted(role.private)
                if not name.startswith(f"__{role.name}_"))  # fmt: skip


def has_defaults_that_it_would_take(role: Role) -> Iterator[str]:
    """A default that is no expression has the type that is documented, and is one of the choices."""
    for name, option in role.options.items():
        default, kind = role.defaults.get(name), str(option.get("type"))
        if name not in role.defaults or (isinstance(default, str) and "{{" in default):
            continue
        if kind in TYPES and (not isinstance(default, TYPES[kind]) or isinstance(default, bool) != (kind == "bool")):
            yield f"{name}: the default {default!r} is not of the type {kind}"
        if option.get("choices") and default not in option["choices"]:
            yield f"{name}: the default {default!r} is not one of {option['choices']}"


def describes_its_variables(role: Role) -> Iterator[str]:
    """Each variable has a type and a sentence; its default stands in one place."""

    def walk(options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
        for name, option in options.items():
            if not str(option.get("description") or "").rstrip().endswith((".", ")")) or not option.get("type"):
                yield f"{name}: a type and a description in sentences are needed"
            if "default" in option:
                yield f"{name}: its default stands in defaults/main.yml"
            if option.get("type") == "list" and "elements" not in option:
                yield f"{name}: the type of its elements is needed"
            yield from walk(option.get("options") or {})

    yield from walk(role.options)


def uses_its_variables(role: Role) -> Iterator[str]:
    """No variable is there for nothing."""
    elsewhere = [
        path
        for folder in ("tasks", "templates", "patches", "vars", "defaults")
        for path in (role.path / folder).rglob("*")
    ]
    # Variables may also be meant for other roles, as those of the shared role are.
    elsewhere += [path for other in (role.root / "roles").iterdir() if other != role.path
                  for folder in ("templates", "vars") for path in (other / folder).rglob("*")]  # fmt: skip
    text = "\n".join(re.sub(r"(?m)^\w+:", "", path.read_text(encoding="utf-8")) for path in elsewhere if path.is_file())
    yield from (f"{name}: used nowhere" for name in role.options if not re.search(rf"\b{name}\b", text))


def hides_secrets(role: Role) -> Iterator[str]:
    """A variable that holds a secret value is not shown when its role is refused, and has no default."""
    for name, option in role.options.items():
        if SECRET.search(name):
            if option.get("no_log") is not True:
                yield f"{name}: no_log: true is needed in meta/argument_specs.yml"
            if role.defaults.get(name):
                yield f"{name}: a secret has no default"


def has_a_generated_table(role: Role) -> Iterator[str]:
    """The README has a heading, and the tables that tools/role_docs.py makes of variables and NetworkPolicies."""
    docs = load_program("tools/role_docs.py")
    if not role.readme.startswith(f"# {role.name}\n"):
        yield f"README.md: the first line must be '# {role.name}'"
    for name in ["variables", *(["policies"] if role.is_component else [])]:
        for mark in docs.marks(name):
            if mark not in role.readme:
                yield f"README.md: the mark {mark} is missing"
    if role.readme != docs.updated(role.readme, role.path):
        yield "README.md: run tools/role_docs.py"


def says_what_is_proven(role: Role) -> Iterator[str]:
    """A component's README has the sections that all of them have."""
    if role.is_component:
        yield from (f"README.md: the section '## {name}' is missing" for name in COMPONENT_SECTIONS
                    if f"\n## {name}\n" not in role.readme)  # fmt: skip


def describes_the_component(role: Role) -> Iterator[str]:
    """A component's spec has the keys that the engine knows, and those that every component needs."""
    if not role.is_component:
        return
    known = set(Component.__dataclass_fields__)
    yield from (f"__{role.name}_spec: unknown key {key!r}" for key in sorted(set(role.spec) - known))
    yield from (f"__{role.name}_spec: the key {key!r} is missing" for key in sorted(SPEC_KEYS - set(role.spec)))
    if role.spec.get("name") != role.name:
        yield f"__{role.name}_spec: name is {role.spec.get('name')!r}"
    yield from (f"__{role.name}_spec: {key} must be {{{{ {role.name}_{key} }}}}" for key in ("version", "namespace")
                if role.spec.get(key) != f"{{{{ {role.name}_{key} }}}}")  # fmt: skip


def proves_it_by_a_transaction(role: Role) -> Iterator[str]:
    """Checks and steps are of known types, and one check at least is a transaction."""
    if not role.is_component:
        return
    checks = set(TYPE.findall(yaml.safe_dump(role.spec.get("checks"), width=10_000)))
    steps = set(TYPE.findall(yaml.safe_dump(role.spec.get("configure") or [], width=10_000)))
    yield from (f"no type of checks: {name}" for name in sorted(checks - set(CHECKS)))
    yield from (f"no type of steps: {name}" for name in sorted(steps - set(STEPS)))
    if not checks - LOOKS:
        yield "a component is proven by a transaction, not by an answer to HTTP alone"


def has_the_common_tasks(role: Role) -> Iterator[str]:
    """Tasks of a component are the same but for its name: what it does is in its spec."""
    if not role.is_component:
        return
    pattern = (ROOT / "roles" / "minio" / "tasks" / "main.yml").read_text(encoding="utf-8")
    path = role.path / "tasks" / "main.yml"
    if not path.exists() or path.read_text(encoding="utf-8") != pattern.replace("minio", role.name):
        yield "tasks/main.yml: it must be that of roles/minio with its own name"
    known = {"tasks/main.yml", *ON_HOSTS.get(role.name, ())}
    yield from (f"{name}: what a component does is in its spec" for name in sorted(role.files)
                if name.startswith("tasks/") and name not in known)  # fmt: skip


def has_a_scenario(role: Role) -> Iterator[str]:
    """A component is provisioned by Molecule with what it requires, and looked at from outside."""
    if not role.is_component:
        return
    folder = role.root / "molecule" / role.name
    tests = "".join(path.read_text(encoding="utf-8") for path in folder.glob("tests/test_*.py"))
    if "\ndef test_" not in tests:
        yield f"molecule/{role.name}/tests/test_{role.name}.py: no test"
    scenario = (folder / "molecule.yml").read_text(encoding="utf-8") if (folder / "molecule.yml").exists() else ""
    limit = re.search(r"--limit=([\w,]+)", scenario)
    limited = set(limit[1].split(",")) if limit else set()
    yield from (f"molecule/{role.name}/molecule.yml: --limit lacks {name}"
                for name in sorted({role.name, *role.spec.get("requires", {})} - limited))  # fmt: skip


def is_watched(role: Role) -> Iterator[str]:
    """A component says what Prometheus reads of it, when somebody is called, and what people look at."""
    if role.is_component and role.name not in UNWATCHED:
        yield from (f"{name} is missing" for name in WATCHED if name not in role.files)


def says_who_may_connect(role: Role) -> Iterator[str]:
    """A component ships NetworkPolicies, proven by a connection that is refused and one that is not."""
    if not role.is_component:
        return
    if POLICIES not in role.files or "policies(" not in (role.path / POLICIES).read_text(encoding="utf-8"):
        yield f"{POLICIES}: the macro policies of policy.yml.j2 is not called"
    proven = re.findall(r"'expect': '(\w+)'", str(role.private.get(f"__{role.name}_connections")))
    yield from (f"__{role.name}_connections: no connection that is {end}" for end in ("open", "refused")
                if end not in proven)  # fmt: skip
    if f"__{role.name}_connections" not in str(role.spec.get("checks")):
        yield f"__{role.name}_spec: checks lacks __{role.name}_connections"


def is_in_every_inventory(role: Role) -> Iterator[str]:
    """A component is a host of the inventories of the project, in which requirements come first."""
    if not role.is_component:
        return
    for inventory in [role.root / "molecule" / "inventory", role.root / "inventories" / "local",
                      role.root / "inventories" / "existing"]:  # fmt: skip
        if inventory.name in OPTIONAL.get(role.name, ()):
            continue
        where = (inventory / "hosts.yml").relative_to(role.root)
        hosts = list(load(inventory / "hosts.yml")["platform"]["children"]["components"]["hosts"])
        if role.name not in hosts:
            yield f"{where}: {role.name} is missing"
        else:
            later = set(role.spec.get("requires", {})).intersection(hosts[hosts.index(role.name) :])
            yield from (f"{where}: {name} must come before {role.name}, which requires it" for name in sorted(later))


Rule = Callable[[Role], Iterator[str]]
RULES: tuple[Rule, ...] = (
    has_its_files,
    names_itself,
    has_documented_entry_points,
    has_defaults_for_its_variables,
    has_defaults_that_it_would_take,
    describes_its_variables,
    uses_its_variables,
    hides_secrets,
    has_a_generated_table,
    says_what_is_proven,
    describes_the_component,
    proves_it_by_a_transaction,
    has_the_common_tasks,
    has_a_scenario,
    is_watched,
    says_who_may_connect,
    is_in_every_inventory,
)
