# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory as Ansible reads it, held against the descriptions of the roles: every problem in one line."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

from ansible import context
from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString, VaultHelper
from ansible.plugins.action import ActionBase
from ansible.template import trust_as_template
from ansible.utils.collection_loader._collection_finder import _get_collection_role_path
from ansible_collections.mlops.platform.plugins.module_utils import graph
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings as Experiment
from ansible_collections.mlops.platform.plugins.module_utils.models.declared import contradictions
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import served
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Serving, Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.release import Rules
from ansible_collections.mlops.platform.plugins.module_utils.preflight import sources, versions
from ansible_collections.mlops.platform.plugins.module_utils.preflight.capacity import Served
from ansible_collections.mlops.platform.plugins.module_utils.preflight.description import Description, describe, plain
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import port_range
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import (
    faults,
    nearest,
    one_slip,
    shown,
)

COLLECTION = Path(__file__).parents[2]
GROUPS = ("platform", "components", "local_cluster", "gpu_nodes")
PLATFORM = "platform"
GPU_ROLE = "gpu_node"
CLUSTER_ROLE = "local_cluster"


@dataclass
class Inventory:
    """What Ansible knows of an inventory.

    `variables` are those of each host, untemplated; `hostvars`, `templar` and `loader` are Ansible's,
    `paths` the sources of the inventory, `forks` says how many hosts run at once. Where `asks_cluster` is false, the
    cluster is not asked what it is: it is what the inventory says.
    """

    groups: Mapping[str, Sequence[str]]
    variables: Mapping[str, Mapping[str, Any]]
    hostvars: Any
    templar: Any
    loader: Any
    paths: Sequence[Path] = ()
    forks: int = 32
    asks_cluster: bool = True
    _templars: dict[tuple[str, str], Any] = field(default_factory=dict)

    @classmethod
    def of(cls, action: ActionBase, task_vars: Mapping[str, Any], *, asks_cluster: bool = True) -> Inventory:
        """The inventory of the run that an action is a part of."""
        hostvars = task_vars["hostvars"]
        return cls(
            groups=task_vars["groups"],
            variables={name: hostvars.raw_get(name) for name in hosts_of(task_vars["groups"])},
            hostvars=hostvars,
            templar=action._templar,
            loader=action._loader,
            paths=[Path(path) for path in task_vars.get("ansible_inventory_sources") or []],
            forks=int(context.CLIARGS.get("forks") or 5),
            asks_cluster=asks_cluster,
        )

    def problems(self) -> list[str]:
        """Everything that is wrong with the inventory itself, a line each."""
        values = list(self._values())
        lines = [*self._structure(), *self._files(), *values, *self._relations(quiet=bool(values)), *self._versions()]
        return list(dict.fromkeys(lines))

    # What is there

    @cached_property
    def descriptions(self) -> dict[str, Description]:
        """What is known of variables, by prefix: the collection, its roles, and those of components from elsewhere."""
        found = {path.name: describe(path, self._load) for path in (COLLECTION / "roles").iterdir() if path.is_dir()}
        found[PLATFORM] = describe(COLLECTION, self._load, PLATFORM)
        for folder in self.folders.values():
            found.setdefault(folder.name, describe(folder, self._load))
        return found

    @cached_property
    def components(self) -> dict[str, Description]:
        """The descriptions of the hosts in the group components, as far as they have a role."""
        found = {name: self.descriptions[folder.name] for name, folder in self.folders.items()}
        return {name: description for name, description in found.items() if description.is_component}

    @cached_property
    def folders(self) -> dict[str, Path]:
        """The folders of the components' roles; components without one are left out."""
        found: dict[str, Path] = {}
        for name in self.groups.get("components", ()):
            role = str(self.variables[name].get("component_role") or f"mlops.platform.{name}")
            own = COLLECTION / "roles" / role.removeprefix("mlops.platform.")
            elsewhere = None if role.startswith("mlops.platform.") else _get_collection_role_path(role)
            if own.is_dir() or elsewhere:
                found[name] = Path(elsewhere[1]) if elsewhere else own
        return found

    @cached_property
    def _own(self) -> dict[str, Any]:
        """What the collection's own group_vars/all set."""
        files = sorted((COLLECTION / "group_vars" / "all").glob("*.yml"))
        return {key: value for path in files for key, value in (self._load(path) or {}).items()}

    def _is_own(self, name: str, value: Any) -> bool:
        """Whether a value is the collection's own; to compare a vault's would be to decrypt it."""
        return name in self._own and not isinstance(value, EncryptedString) and bool(value == self._own[name])

    def _load(self, path: Path) -> Any:
        return self.loader.load_from_file(str(path), trusted_as_template=True)

    def template(self, host: str, prefix: str, value: Any) -> Any:
        """A value as the role of a prefix sees it on a host. Raises AnsibleError."""
        return self._templar(host, prefix).template(value)

    def effective(self, host: str, prefix: str, name: str) -> Any:
        """A variable as the role sees it: set in the inventory, or its default. Raises AnsibleError."""
        return self.template(host, prefix, self._seen(host, prefix).get(name))

    def _seen(self, host: str, prefix: str) -> dict[str, Any]:
        role, shared = self.descriptions[prefix], self.descriptions["component"]
        known = {"groups": self.groups, "hostvars": self.hostvars, "inventory_hostname": host}
        if not self.asks_cluster:
            known["__platform_openshift"] = trust_as_template("{{ platform_distribution == 'openshift' }}")
        return {**shared.defaults, **role.defaults, **self.variables[host], **role.variables, **known}

    def _templar(self, host: str, prefix: str) -> Any:
        if (host, prefix) not in self._templars:
            new = self.templar.copy_with_new_env(available_variables=self._seen(host, prefix))
            self._templars[(host, prefix)] = new
        return self._templars[(host, prefix)]

    def where(self, host: str, name: str) -> str:
        """Where the value of a variable comes from: file and line, the command line, or the host that has it."""
        variables = self.variables[host]
        if name not in variables:
            prefix = self._prefix(name)
            default = place(self.descriptions[prefix].defaults.get(name)) if prefix else ""
            return default or f"host {host}"
        if found := place(variables[name]):
            return found
        # Ansible cannot mark true, false and nothing; its key may be that of a place with less precedence.
        files = [path for source in self.paths for path in sources.files(source)]
        lines = [f"{path}:{line}" for path in files for line in sources.lines_of(path, name)]
        key = next(key for key in variables if key == name)
        return _nearer(lines[0]) if lines else place(key) or f"host {host}"

    def _prefix(self, name: str) -> str:
        """The longest known prefix of a variable's name; empty where it has none. Playbooks have `component_*`, too."""
        if name in self.descriptions[PLATFORM].options:
            return PLATFORM
        return max((key for key in self.descriptions if name.startswith(f"{key}_")), key=len, default="")

    # What is wrong

    def _structure(self) -> Iterator[str]:
        """Groups and hosts."""
        components = self.groups.get("components", ())
        for group in self.groups:
            meant = next((known for known in GROUPS if group not in GROUPS and one_slip(group, known)), "")
            if meant:
                yield f"inventory: unknown group {group!r}; did you mean {meant}?"
        if not components:
            yield "inventory: the group components has no hosts: each component is a host of it"
        inside = {host for group in GROUPS for host in self.groups.get(group, ())}
        for name in sorted(inside - {*self.groups.get(PLATFORM, ())}):
            yield f"inventory: {name} is not in the group platform, whose variables it needs"
        known = sorted(name for name, description in self.descriptions.items() if description.is_component)
        for name in components:
            if name not in self.folders:
                given = self.variables[name].get("component_role")
                where = self.where(name, "component_role") if given else "inventory"
                said = f"component_role is {given!r}, a role that is not installed" if given else ""
                hint = f"{nearest(name, known)} (known are {', '.join(known)})"
                yield f"{where}: {said or f'unknown component {name!r}{hint}'}"
            elif name not in self.components:
                yield f"inventory: {name} has the role {self.folders[name].name}, which is not a component"
        if self.gpu_nodes and not self.of_role(GPU_ROLE):
            yield (
                f"inventory: {self.gpu_nodes[0]} is in the group gpu_nodes, and nothing makes it a GPU node: add the "
                f"host {GPU_ROLE} to the group components"
            )
        if self.forks < len(components):
            yield (
                f"ansible.cfg: forks is {self.forks}; components wait for each other: "
                f"at least {len(components)} are needed"
            )

    def _files(self) -> Iterator[str]:
        """What stands in the inventory's files and does not reach Ansible."""
        for path in [path for source in self.paths for path in sources.files(source)]:
            yield from map(_nearer, sources.duplicate_keys(path))
            yield from map(_nearer, sources.shadowed(path, self._own))

    def _values(self) -> Iterator[str]:
        """Variables that were set: unknown names, wrong types, values that do not fit."""
        names = {name for variables in self.variables.values() for name in variables}
        seen: set[tuple[str, str]] = set()
        for name in sorted(names):
            prefix = self._prefix(name)
            if not prefix:
                yield from self._misspelt(name)
                continue
            of_role = [host for host, description in self.components.items() if description.name == prefix]
            for host in dict.fromkeys([*of_role, *self.variables]):
                if name not in self.variables[host] or self._is_own(name, self.variables[host][name]):
                    continue
                where = self.where(host, name)
                if (name, where) not in seen:
                    seen.add((name, where))
                    yield from self._value(host, prefix, name, where)

    def _misspelt(self, name: str) -> Iterator[str]:
        """A variable of no known prefix that is one slip away from a known one."""
        if name.startswith("ansible_"):
            return
        known = (option for description in self.descriptions.values() for option in description.options)
        meant = next((option for option in known if one_slip(name, option)), "")
        for host in [host for host in self.variables if meant and name in self.variables[host]][:1]:
            yield f"{self.where(host, name)}: {name}: there is no such variable; did you mean {meant}?"

    def _value(self, host: str, prefix: str, name: str, where: str) -> Iterator[str]:
        """What is wrong with one variable."""
        description = self.descriptions[prefix]
        option = description.options.get(name)
        raw = self.variables[host][name]
        if option is None:
            shared = f"component_{name.removeprefix(description.prefix)}"
            known = shared in self.descriptions["component"].options
            hint = f"; did you mean {shared}?" if known else nearest(name, description.options)
            of = "platform" if prefix == PLATFORM else f"role {prefix}"
            yield f"{where}: {name}: the {of} has no such variable{hint}"
            return
        try:
            value = self.template(host, prefix, raw)
        except AnsibleError as error:
            yield f"{where}: {name} cannot be evaluated: {_first_line(error)}"
            return
        default = self._own.get(name) if prefix == PLATFORM else description.defaults.get(name)
        if default is not None and value == default and type(value) is type(default):
            return
        secret = bool(option.get("no_log")) or VaultHelper.get_ciphertext(value, with_tags=False) is not None
        for inner, found, matter in faults(name, value, option, description.formats):
            yield f"{place(found) or where}: {inner} is {'not shown' if secret else shown(found)}: {matter}"

    def _relations(self, quiet: bool) -> Iterator[str]:
        """What does not go together; `quiet` where values are already known to be wrong, which may break these."""
        ports: dict[int, str] = {}
        places: dict[tuple[str, str], str] = {}
        for host, description in self.components.items():
            checks = (self._requirements, self._unique, self._refused, self._image)
            for check in checks:
                try:
                    yield from check(host, description)
                except (AnsibleError, TypeError, AttributeError, LookupError) as error:
                    if not quiet:
                        yield f"host {host}: {_first_line(error)}"
            yield from self._node_ports(host, description, ports)
            yield from self._place(host, description, places)
        machines = {GPU_ROLE: self.gpu_nodes, CLUSTER_ROLE: self.groups.get(CLUSTER_ROLE, ())[:1]}
        for host, role in [(host, role) for role, hosts in machines.items() for host in hosts]:
            try:
                yield from self._refused(host, self.descriptions[role])
            except (AnsibleError, TypeError, AttributeError, LookupError) as error:
                if not quiet:
                    yield f"host {host}: {_first_line(error)}"
        yield from self._models(quiet)
        yield from self._moving() if not quiet else ()
        if not any(set(description.requires) - set(self.components) for description in self.components.values()):
            try:
                graph.waves(self.before, self.external)
            except PlatformError as error:
                yield str(error)

    @property
    def before(self) -> dict[str, dict[str, str]]:
        """What each component waits for: what it requires, and what it comes after as far as that is there."""
        return {
            host: {**description.requires, **{name: "" for name in description.after if name in self.components}}
            for host, description in self.components.items()
        }

    @property
    def external(self) -> dict[str, bool]:
        """The variables that may name an external endpoint; `problems` says which of them must."""
        return {
            variable: True for description in self.components.values() for variable in description.requires.values()
        }

    @property
    def gpu_nodes(self) -> Sequence[str]:
        """The hosts that stand for nodes with GPUs."""
        return self.groups.get("gpu_nodes", ())

    def of_role(self, role: str) -> str:
        """The host of a component by its role; empty where the inventory has none."""
        return next((host for host, description in self.components.items() if description.name == role), "")

    def serving(self) -> Serving:
        """How the inventory serves models, by its component kserve. Raises AnsibleError."""
        host = self.of_role("kserve")

        def value(role: str, name: str) -> Any:
            found = self.effective(self.of_role(role) or host, role, name)
            return json.loads(json.dumps(found))  # without Ansible's marks of where it was written

        edge = value("kserve", "__platform_edge") if value("kserve", "__platform_has_edge") else {}
        return Serving(
            **value("kserve", "__kserve_serving"),
            domain=value("kserve", "platform_domain"),
            node_selector=value("kserve", "component_node_selector"),
            tolerations=value("kserve", "component_tolerations"),
            priority_class=value("kserve", "component_priority_class"),
            knative_domain=value("knative", "knative_domain"),
            knative_gateway=value("knative", "knative_gateway"),
            edge=edge and {**edge, "listener": value("kserve", "__platform_gateway")["listener"]},
            request_seconds=value("kserve", "platform_request_seconds"),
            room_checked=value("kserve", "platform_capacity_checked"),
        )

    def models(self) -> list[Served]:
        """The pods of the models that the inventory serves. Raises AnsibleError."""
        host = self.of_role("kserve")
        declared = json.loads(json.dumps(self.effective(host, PLATFORM, "platform_models"))) if host else []
        serving = self.serving() if declared else None
        return [served(Settings(**item), serving) for item in declared] if serving else []

    def _models(self, quiet: bool) -> Iterator[str]:
        """The models that are served: what keeps and serves them is there, and they do not contradict themselves."""
        host = self.of_role("kserve") or next(iter(self.components), "")
        try:
            models = self.effective(host, PLATFORM, "platform_models") if host else []
            for role in ("kserve", "mlflow"):
                if models and not self.of_role(role):
                    said = (
                        f"needs the component {role}, which is not in the group components: add it, or empty the list"
                    )
                    yield f"{self.where(host, 'platform_models')}: platform_models {said}"
                    return
            taken = [*self.components]
            for where, found, matter in contradictions(models, self.serving(), taken) if models else ():
                yield f"{place(found) or self.where(host, 'platform_models')}: {where} is {shown(found)}: {matter}"
        except (AnsibleError, PlatformError, TypeError, AttributeError, LookupError) as error:
            if not quiet:
                yield f"host {host}: {_first_line(error)}"

    def _moving(self) -> Iterator[str]:
        """The rules of releases and of experiments; what they say is wrong begins with the variable."""
        host, described = self.of_role("kserve"), self.descriptions[PLATFORM].options
        for prefix, rules in (("release", Rules), ("experiment", Experiment)) if host else ():
            names = {item.name: f"{prefix}_{item.name}" for item in fields(rules)}
            found = {key: self.effective(host, PLATFORM, name) for key, name in names.items() if name in described}
            if rules is Rules and len(found["steps"]) > 1:
                found["gate"] = found["steps"][-2]  # which a run may ask for
            try:
                rules(**found)
            except PlatformError as error:
                yield f"{self.where(host, str(error).partition(' ')[0])}: {error}"

    def misspelt_options(self, known: Collection[str]) -> Iterator[str]:
        """What is given by -e, has no meaning, and is one slip away from what a playbook knows."""
        for name, value in next(iter(self.variables.values()), {}).items():
            meant = next((item for item in sorted(known) if one_slip(name, item)), "")
            if meant and name not in known and place(value).startswith("CLI option"):
                yield f"-e {name}: there is no such variable; did you mean {meant}?"

    def _requirements(self, host: str, description: Description) -> Iterator[str]:
        """Each requirement is a component of the inventory, or an external endpoint, and not both."""
        for need, variable in description.requires.items():
            given = bool(variable) and bool(self.effective(host, description.name, variable))
            if need not in self.groups["components"] and not given:
                instead = f", or set {variable} to an external endpoint" if variable else ""
                yield f"inventory: {host} requires {need}, which is not in the group components: add it{instead}"
            elif need in self.groups["components"] and given:
                yield (
                    f"{self.where(host, variable)}: {variable} names an external endpoint, "
                    f"and {need} is in the group components: remove one of the two"
                )

    def _unique(self, host: str, description: Description) -> Iterator[str]:
        """Names that must not be given twice."""
        for path in description.unique:
            variable, _, key = path.partition(".")
            values = self.effective(host, description.name, variable)
            names = [item[key] if key else item for item in values]
            for name in sorted({name for name in names if names.count(name) > 1}):
                count = f"is there {names.count(name)} times: remove all but one"
                yield f"{self.where(host, variable)}: {path} {shown(name)} {count}"

    def _refused(self, host: str, description: Description) -> Iterator[str]:
        """What the role itself refuses."""
        templar = self._templar(host, description.name)
        for rule in description.refused:
            if templar.evaluate_conditional(rule["when"]):
                name = rule["variable"]
                option = description.options.get(name) or self.descriptions[PLATFORM].options[name]
                secret = bool(option.get("no_log"))
                value = "" if secret else f" is {shown(self.effective(host, description.name, name))}"
                yield f"{self.where(host, name)}: {name}{value}: {templar.template(rule['because'])}"

    def _place(self, host: str, description: Description, taken: dict[tuple[str, str], str]) -> Iterator[str]:
        """Each role once in a namespace: its objects have the same names there."""
        variable = f"{description.name}_namespace"
        try:
            place = (description.name, str(self.effective(host, description.name, variable)))
        except AnsibleError:  # said already
            return
        if place in taken:
            both = f"{taken[place]} and {host} are both the role {place[0]} in the namespace {place[1]}"
            yield f"inventory: {both}: give one of them another {variable}"
        taken.setdefault(place, host)

    def _image(self, host: str, description: Description) -> Iterator[str]:
        """The version of an image that is built is the platform's pin."""
        name, image = f"{description.name}_version", f"{description.name}_image"
        if name in self.variables[host] and image not in self.variables[host]:
            given = self.effective(host, description.name, name)
            pin = self.template(host, description.name, description.defaults[name])
            if given != pin:
                matter = f"the image that is built is of {pin}: give {image}, too, or neither of them"
                yield f"{self.where(host, name)}: {name} is {shown(given)}: {matter}"

    def _node_ports(self, host: str, description: Description, used: dict[int, str]) -> Iterator[str]:
        """Ports of nodes: in the cluster's range, each given once."""
        for name in [name for name in description.options if name.endswith("_node_port")]:
            try:
                port = self.effective(host, description.name, name)
                ports = port_range(self.effective(host, description.name, "platform_node_ports"))
            except AnsibleError:  # said already
                continue
            if not isinstance(port, int) or not port or ports is None:
                continue
            if port not in ports and port in range(1, 65536):
                allowed = f"allowed are {ports[0]} to {ports[-1]} (platform_node_ports)"
                yield f"{self.where(host, name)}: {name} is {port}: {allowed}"
            if port in used:
                yield f"{self.where(host, name)}: {name} is {port}: {used[port]} is the same port"
            used.setdefault(port, name)

    def _versions(self) -> Iterator[str]:
        """Versions that do not go together."""
        rows = compatibility()
        present = versions.python_packages(rows)
        variables: dict[str, str] = {}
        for host, description in self.components.items():
            name = f"{description.name}_version"
            try:
                present[description.name] = str(self.effective(host, description.name, name))
            except AnsibleError:  # said already
                continue
            variables[description.name] = f"{self.where(host, name)}: {name}"
        if self.groups.get("local_cluster"):
            present |= {name: str(value) for name, value in self._pins.items() if name not in present}
        for name, message in versions.mismatches(rows, present):
            yield f"{variables.get(name) or f'this machine: {name}'} {message}"

    @property
    def _pins(self) -> Mapping[str, Any]:
        """The versions of the embedded cluster's parts."""
        host = self.groups["local_cluster"][0]
        found = self.template(host, PLATFORM, self.variables[host].get("platform_versions"))
        return found if isinstance(found, Mapping) else {}


def hosts_of(groups: Mapping[str, Sequence[str]]) -> list[str]:
    """The hosts that the platform has to do with, in an inventory that may have many others."""
    found = dict.fromkeys(host for group in GROUPS for host in groups.get(group, ()))
    return list(found) or list(groups["all"])


def compatibility() -> list[versions.Pair]:
    """The table of versions that go together."""
    return [versions.Pair(**row) for row in plain(COLLECTION / "meta" / "versions.yml")]


def place(value: Any) -> str:
    """Where a value was written, as Ansible noted it: `file:line`, or the command line; empty where it did not."""
    origin = Origin.get_tag(value)
    if origin is None:
        return ""
    if origin.path:
        return _nearer(f"{origin.path}:{origin.line_num}" if origin.line_num else origin.path)
    return str(origin.description or "").strip("<>")


def _nearer(text: str) -> str:
    """A line that begins with a path, which is shortened where it is below the working directory."""
    return text.removeprefix(f"{Path.cwd()}/")


def _first_line(error: Exception) -> str:
    return str(getattr(error, "message", None) or error).strip().partition("\n")[0]
