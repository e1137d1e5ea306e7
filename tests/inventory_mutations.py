"""Broken inventories, made from good ones: each mutation breaks one thing, by what the roles say of their variables.

A mutation is chosen by a random generator, so that a seed makes the same inventories again.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.mlops.platform.plugins.module_utils.preflight.description import Description, describe
from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import FORMATS, format_of
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory, hosts_of

ROOT = Path(__file__).resolve().parents[1]
GIVEN_SEED = os.environ.get("MUTATION_SEED") or "1"
SEED = time.time_ns() % 2**32 if GIVEN_SEED == "random" else int(GIVEN_SEED)
"""What the mutations are drawn with: the same for everybody, unless MUTATION_SEED is a number or `random`."""
BASES = sorted(path.parent for path in (ROOT / "inventories").glob("*/hosts.yml"))
VAULT = {
    "vault_mlflow_backend_store_uri": "postgresql://mlflow:secret@db.example.org/mlflow",
    "vault_platform_image_registry_username": "puller",
    "vault_platform_image_registry_password": "secret",
}
"""What inventories/production leaves to a vault."""
WRONG_TYPES: Mapping[str, tuple[Any, ...]] = {
    "str": (17, True, ["text"], {"a": "text"}, None),
    "path": (17, ["text"], None),
    "int": ("many", "5000", True, [1], {"a": 1}, None),
    "float": ("much", "0.5", True, [0.5], None),
    "bool": ("yes", "maybe", 1, [True], None),
    "list": ("a,b", 1, {"a": 1}, None),
    "dict": ("a=b", ["a"], 1, None),
}
WRONG_VALUES: Mapping[str, tuple[Any, ...]] = {
    "address": ("10.0.0.256", "node1"),
    "bucket": ("Models", "ab", "-models", "a..b"),
    "certificates": ("-----BEGIN CERTIFICATE-----", "/no/such/file.pem"),
    "cidr": ("10.0.0.1/16", "10.0.0.0/33", "10.0.0.0-10.0.0.255"),
    "count": (0, -1),
    "device": ("a-name-that-is-too-long", "a b"),
    "dns_label": ("ml_ops", "MLOps", "-mlops", "a.b", "x" * 64),
    "dns_name": ("fast_disks", "a..b", "Fast"),
    "host": ("10.0.0.999", "a b", "a..b"),
    "host_pattern": ("https://mlflow.example.org", "a b"),
    "identifier": ("my-db", "1db", "db; drop"),
    "image": ("MLflow:latest", "mlflow:a b", "mlflow@sha256:abc"),
    "label_key": ("a b", "/gpu", "nvidia_com/gpu", "gpu-"),
    "label_value": ("Tesla T4", "-t4", "x" * 64),
    "network_or_primary": ("secondary", "10.0.0.1/8"),
    "number": (-1,),
    "percent": (0, 101),
    "port": (65536, -1, 100000),
    "port_range": ("32767-30000", "30000", "0-70000"),
    "postgresql_uri": ("mysql://u:p@db/x", "postgresql://db", "db.example.org"),
    "registry": ("https://registry.example.org", "a b"),
    "resource_name": ("gpu", "nvidia.com/", "nvidia com/gpu"),
    "resources": ({"requests": {"memory": "12 Gb"}}, {"limit": {"cpu": 1}}, {"requests": {"cpu": "1x"}}, []),
    "s3_uri": ("/mlflow", "s3://", "https://s3.example.org", "s3://My_Bucket"),
    "size": ("5GB", "5 Gi", "lots", "500m", "-5Gi"),
    "url": ("s3.example.org", "https://", "ftp://s3.example.org", "https://s3.example.org:port", "https://a b"),
    "version": ("", "3 17"),
    "mail_address": ("ml", "ml@", "@example.org", "a b@example.org"),
    "word": ("a b", "", "a/b"),
    "word_or_nothing": ("a b", "a/b"),
}


@dataclass(frozen=True)
class Broken:
    """An inventory with one mistake: `kind` of mutation, what a message must name, and where it must say it is."""

    kind: str
    path: Path
    names: str
    file: str = ""


class Site:
    """A copy of an inventory that can be changed; `write` writes it."""

    def __init__(self, base: Path, folder: Path) -> None:
        self.path = folder / base.name
        shutil.copytree(base, self.path)
        group = self.path / "group_vars" / "platform"
        if group.is_dir():
            (group / "vault.yml").write_text(yaml.safe_dump(VAULT), encoding="utf-8")
        self.variables_file = group / "main.yml" if group.is_dir() else group.with_suffix(".yml")
        self.hosts: dict[str, Any] = yaml.safe_load((self.path / "hosts.yml").read_text(encoding="utf-8"))

    @property
    def components(self) -> dict[str, dict[str, Any]]:
        """The hosts of the group components with their variables."""
        found: dict[str, dict[str, Any]] = self.hosts["platform"]["children"]["components"]["hosts"]
        for name, variables in found.items():
            found[name] = variables or {}
        return found

    def set(self, host: str, variables: Mapping[str, Any]) -> None:
        """Set variables beside a component's host."""
        self.components[host].update(variables)

    def write(self) -> None:
        """Write hosts.yml, each value on the line of its key."""
        lines = yaml.safe_dump(self.hosts, sort_keys=False, width=10_000)
        (self.path / "hosts.yml").write_text(lines, encoding="utf-8")


def read(path: Path, loader: DataLoader) -> Inventory:
    """An inventory as the playbooks see it, without running one."""
    loader.set_basedir(str(ROOT / "playbooks"))
    manager = InventoryManager(loader=loader, sources=[str(path)])
    variables = HostVars(manager, VariableManager(loader=loader, inventory=manager), loader)
    groups = {name: [host.name for host in group.get_hosts()] for name, group in manager.groups.items()}
    return Inventory(
        groups=groups,
        variables={name: variables.raw_get(name) for name in hosts_of(groups)},
        hostvars=variables,
        templar=Templar(loader=loader, variables={}),
        loader=loader,
        paths=[path],
        asks_cluster=False,
    )


def slip(word: str, chance: random.Random) -> str:
    """A word with one letter lost, doubled, turned or wrong."""
    place = chance.randrange(1, len(word) - 1)
    before, here, after = word[:place], word[place], word[place + 1 :]
    turned = f"{before}{after[0]}{here}{after[1:]}"
    choices = {before + after, before + here + here + after, turned, f"{before}x{after}"} - {word}
    return chance.choice(sorted(choices))


def descriptions(site: Site) -> dict[str, Description]:
    """What is known of the variables of a site's components."""
    return {name: _described(name) for name in site.components}


@cache
def _described(name: str) -> Description:
    return describe(ROOT / "roles" / name)


def options(site: Site, wanted: Callable[[str, Mapping[str, Any], Description], bool]) -> list[tuple[str, str]]:
    """The components and variables that `wanted` is true of."""
    return [
        (host, name)
        for host, description in descriptions(site).items()
        for name, option in description.options.items()
        if wanted(name, option, description)
    ]


def wrong_value(values: Sequence[Any], default: Any, chance: random.Random) -> Any:
    """One of the wrong values; what a variable is when nobody sets it is never a mistake, though its format says so."""
    return chance.choice([value for value in values if value != default])


def _unknown_variable(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda *_: True))
    known = {name for description in descriptions(site).values() for name in description.options}
    wrong = next(word for word in iter(lambda: slip(name, chance), "") if word not in known)
    site.set(host, {wrong: descriptions(site)[host].defaults.get(name)})
    return wrong, "hosts.yml"


def _wrong_type(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda *_: True))
    site.set(host, {name: chance.choice(WRONG_TYPES[descriptions(site)[host].options[name]["type"]])})
    return name, "hosts.yml"


def _wrong_element(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda _, option, __: "elements" in option))
    kind = descriptions(site)[host].options[name]["elements"]
    site.set(host, {name: [chance.choice(WRONG_TYPES[kind])]})
    return f"{name}[0]", "hosts.yml"


def _wrong_key(site: Site, chance: random.Random) -> tuple[str, str]:
    """A key inside a value that is missing, or misspelt."""
    found = options(site, lambda name, option, role: bool(option.get("options") and role.defaults[name]))
    host, name = chance.choice(found)
    inner = descriptions(site)[host].options[name]["options"]
    item = dict.fromkeys(inner, "x")
    key = chance.choice(sorted(inner))
    if chance.random() < 0.5:
        item[slip(key, chance)] = item[key]
    del item[key]
    listed = descriptions(site)[host].options[name]["type"] == "list"
    site.set(host, {name: [item] if listed else item})
    return key, "hosts.yml"


def _wrong_choice(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda _, option, __: bool(option.get("choices"))))
    right = chance.choice(descriptions(site)[host].options[name]["choices"])
    site.set(host, {name: slip(right, chance) if isinstance(right, str) else right + 2})
    return name, "hosts.yml"


def _wrong_value(site: Site, chance: random.Random) -> tuple[str, str]:
    """A value that its format does not allow; all formats in use get their turn."""
    names = {id(check): name for name, check in FORMATS.items()}
    by_format: dict[str, list[tuple[str, str]]] = {}
    for host, description in descriptions(site).items():
        for name in description.options:
            check = format_of(name, description.formats)
            if check and not description.options[name].get("choices"):
                by_format.setdefault(names[id(check)], []).append((host, name))
    form = chance.choice(sorted(by_format))
    host, name = chance.choice(by_format[form])
    role = descriptions(site)[host]
    value = wrong_value(WRONG_VALUES[form], role.defaults.get(name), chance)
    site.set(host, {name: [value] if role.options[name]["type"] == "list" else value})
    return name, "hosts.yml"


@cache
def shared_defaults() -> dict[str, Any]:
    """What the collection sets for every inventory."""
    files = sorted((ROOT / "group_vars" / "all").glob("*.yml"))
    return {name: value for path in files for name, value in yaml.safe_load(path.read_text(encoding="utf-8")).items()}


def _unknown_platform_variable(site: Site, chance: random.Random) -> tuple[str, str]:
    name = slip(chance.choice(sorted(describe(ROOT, name="platform").options)), chance)
    with site.variables_file.open("a", encoding="utf-8") as file:
        file.write(f"\n{name}: x\n")
    return name, site.variables_file.name


def _wrong_shared_value(site: Site, chance: random.Random) -> tuple[str, str]:
    """A variable of the platform, or of the embedded cluster, of another type or out of its format."""
    description = chance.choice([_described("local_cluster"), describe(ROOT, name="platform")])
    names = {id(check): name for name, check in FORMATS.items()}
    name = chance.choice(sorted(set(description.options) - {"component_role", "component_verb"}))
    option, check = description.options[name], format_of(name, description.formats)
    wrong = WRONG_VALUES[names[id(check)]] if check and chance.random() < 0.5 else WRONG_TYPES[option["type"]]
    value = wrong_value(wrong, shared_defaults().get(name, description.defaults.get(name)), chance)
    listed = wrong is not WRONG_TYPES[option["type"]] and option["type"] == "list"
    variables = yaml.safe_load(site.variables_file.read_text(encoding="utf-8"))
    variables[name] = [value] if listed else value
    site.variables_file.write_text(yaml.safe_dump(variables, sort_keys=False, width=10_000), encoding="utf-8")
    return name, site.variables_file.name


def _same_component(site: Site, chance: random.Random) -> tuple[str, str]:
    name = chance.choice(sorted(site.components))
    site.components["another"] = {**site.components[name], "component_role": f"mlops.platform.{name}"}
    return f"the role {name} in the namespace", ""


def _unknown_component(site: Site, chance: random.Random) -> tuple[str, str]:
    name = chance.choice(sorted(site.components))
    wrong = slip(name, chance)
    site.components[wrong] = site.components.pop(name)
    return wrong, ""


def _missing_requirement(site: Site, chance: random.Random) -> tuple[str, str]:
    needs = [
        (need, variable)
        for name, description in descriptions(site).items()
        for need, variable in description.requires.items()
        if need in site.components and variable not in site.components[name]
    ]
    need, variable = chance.choice(needs)
    del site.components[need]
    return variable or need, ""


def _twice(site: Site, chance: random.Random) -> tuple[str, str]:
    """An external endpoint, and the component that it stands for."""
    uris = {
        "s3": "https://s3.example.org",
        "backend": "postgresql://u:p@db.example.org/x",
        "tracking": "https://mlflow.example.org",
    }
    needs = [
        (name, variable, next(uri for word, uri in uris.items() if word in variable))
        for name, description in descriptions(site).items()
        for need, variable in description.requires.items()
        if variable and need in site.components and variable not in site.components[name]
    ]
    name, variable, uri = chance.choice(needs)
    login = {f"{name}_aws_access_key_id": "a", f"{name}_aws_secret_access_key": "b"} if "s3" in variable else {}
    site.set(name, {variable: uri, **login})
    return variable, "hosts.yml"


def _same_port(site: Site, chance: random.Random) -> tuple[str, str]:
    ports = options(site, lambda name, *_: name.endswith("_node_port"))
    number = chance.randrange(30000, 32768)
    chosen = chance.sample(ports, 2)
    for host, name in chosen:
        site.set(host, {name: number})
    return str(number), "hosts.yml"


def _port_outside(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda name, *_: name.endswith("_node_port")))
    site.set(host, {name: chance.choice([80, 29999, 32768, 60000])})
    return name, "hosts.yml"


def _same_name(site: Site, chance: random.Random) -> tuple[str, str]:
    found = [(host, path) for host, description in descriptions(site).items() for path in description.unique]
    host, path = chance.choice(found)
    name = path.partition(".")[0]
    same = {"name": "same"} if "." in path else "same.example.org"
    default = descriptions(site)[host].defaults[name] or [same]
    site.set(host, {name: [*default, default[0]]})
    return path, "hosts.yml"


def _undefined(site: Site, chance: random.Random) -> tuple[str, str]:
    host, name = chance.choice(options(site, lambda *_: True))
    site.set(host, {name: "{{ no_such_variable }}"})
    return name, "hosts.yml"


def _duplicate_key(site: Site, chance: random.Random) -> tuple[str, str]:
    lines = site.variables_file.read_text(encoding="utf-8").splitlines()
    keys = [line.partition(":")[0] for line in lines if line[:1].isalpha()]
    key = chance.choice(keys)
    site.variables_file.write_text("\n".join([*lines, f"{key}: x", ""]), encoding="utf-8")
    return key, site.variables_file.name


def _no_effect(site: Site, chance: random.Random) -> tuple[str, str]:
    name = chance.choice(["platform_namespace", "platform_profile", "platform_storage_class"])
    (site.path / "group_vars" / "all.yml").write_text(f"{name}: minimal\n", encoding="utf-8")
    return name, "all.yml"


def _misspelt_group(site: Site, chance: random.Random) -> tuple[str, str]:
    children = site.hosts["platform"]["children"]
    wrong = slip("components", chance)
    children[wrong] = children.pop("components")
    return "components", ""


def _contradiction(site: Site, chance: random.Random) -> tuple[str, str]:
    """What the roles themselves refuse, each by values that make its condition true."""
    found: list[tuple[str, dict[str, Any], str]] = [
        ("mlflow", {"mlflow_autoscaling_enabled": True, "mlflow_replicas": 3, "mlflow_autoscaling_maximum_replicas": 2},
         "mlflow_autoscaling_maximum_replicas"),
        ("mlflow", {"mlflow_autoscaling_enabled": True, "mlflow_resources": {"limits": {"memory": "1Gi"}}},
         "mlflow_resources"),
        ("mlflow", {"mlflow_aws_access_key_id": "a"}, "mlflow_aws_secret_access_key"),
        ("mlflow", {"mlflow_s3_endpoint_url": "https://s3.example.org"}, "mlflow_s3_endpoint_url"),
        ("mlflow", {"mlflow_version": "3.0.0"}, "mlflow_version"),
        ("minio", {"minio_consumers": []}, "minio_consumers"),
        ("minio", {"minio_buckets": ["other"]}, "minio_consumers"),
        ("cert_manager", {"cert_manager_acme_enabled": True}, "cert_manager_acme_enabled"),
        ("cert_manager", {"cert_manager_acme_enabled": True, "cert_manager_image": "example.org/controller:1",
                          "cert_manager_acme_email": "ml@example.org"}, "cert_manager_acme_solvers"),
        ("cert_manager", {"cert_manager_root_issuer": "platform-ca"}, "cert_manager_root_issuer"),
        ("knative", {"knative_ingress_class": "kourier"}, "knative_ingress_class"),
        ("knative", {"knative_ingress_class": "istio.ingress.networking.knative.dev"}, "knative_gateway"),
        ("knative", {"knative_domain": "svc.cluster.local"}, "knative_domain"),
        ("knative", {"knative_min_scale": 3, "knative_max_scale": 2}, "knative_max_scale"),
        ("knative", {"knative_stable_window_seconds": 5}, "knative_stable_window_seconds"),
        ("knative", {"knative_features": {"multi-container": True}}, "knative_features"),
        ("kserve", {"kserve_enable_raw_deployment": True, "kserve_scale_metric": "rps"}, "kserve_scale_metric"),
        ("kserve", {"kserve_enable_raw_deployment": True, "kserve_min_replicas": 0}, "kserve_min_replicas"),
        ("kserve", {"kserve_min_replicas": 4, "kserve_max_replicas": 3}, "kserve_max_replicas"),
        ("kserve", {"kserve_storage_initializer_resources": {"limits": {"memory": "1Gi"}}},
         "kserve_storage_initializer_resources"),
        ("kserve", {"kserve_aws_access_key_id": "a"}, "kserve_aws_secret_access_key"),
    ]  # fmt: skip
    host, variables, name = chance.choice([item for item in found if item[0] in site.components])
    site.set(host, variables)
    return name, ""


MUTATIONS: Mapping[str, Callable[[Site, random.Random], tuple[str, str]]] = {
    "unknown variable": _unknown_variable,
    "wrong type": _wrong_type,
    "wrong element": _wrong_element,
    "wrong key": _wrong_key,
    "wrong choice": _wrong_choice,
    "wrong value": _wrong_value,
    "another wrong value": _wrong_value,
    "one more wrong value": _wrong_value,
    "unknown variable of the platform": _unknown_platform_variable,
    "wrong value of all": _wrong_shared_value,
    "same component": _same_component,
    "unknown component": _unknown_component,
    "missing requirement": _missing_requirement,
    "external endpoint and component": _twice,
    "same port": _same_port,
    "port outside of the range": _port_outside,
    "same name": _same_name,
    "undefined variable": _undefined,
    "duplicate key": _duplicate_key,
    "no effect": _no_effect,
    "misspelt group": _misspelt_group,
    "contradiction": _contradiction,
}


def mutations(seed: int, count: int, folder: Path) -> Iterator[Broken]:
    """`count` broken inventories below `folder`: all kinds of mutations in turn, of all inventories in turn."""
    chance = random.Random(seed)  # noqa: S311  (nothing secret depends on it)
    kinds = list(MUTATIONS)
    for number in range(count):
        kind = kinds[number % len(kinds)]
        site = Site(BASES[(number + number // len(kinds)) % len(BASES)], folder / str(number))
        names, file = MUTATIONS[kind](site, chance)
        site.write()
        yield Broken(kind, site.path, names, file)
