"""What the playbooks of a model are given by -e, and the rules of releases and experiments: refused by their names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from ansible._internal._datatag._tags import Origin
from ansible.parsing.dataloader import DataLoader
from ansible_collections.mlops.platform.plugins.action.models import ActionModule
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.plan import Verb
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory
from inventory_mutations import BASES, Site, read

EXISTING = next(base for base in BASES if base.name == "existing")
OPTION = Origin(description="<CLI option '-e'>")


def site(folder: Path, **variables: Any) -> Inventory:
    """An inventory that has variables of releases or experiments."""
    made = Site(EXISTING, folder)
    made.set("kserve", variables)
    made.write()
    return read(made.path, DataLoader())


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"experiment_rate": 1000.0}, "experiment_rate is 1000: allowed is 0.1 to 500"),
        ({"experiment_alpha": 2.0}, "experiment_alpha is 2: allowed is 1e-06 to 0.5"),
        ({"release_steps": [50, 10]}, "release_steps is [50, 10]: allowed are rising percentages"),
        ({"release_error_ratio": 1.5}, "release_error_ratio is 1.5: allowed is a part of 1"),
    ],
)
def test_rules_are_refused_with_their_place(tmp_path: Path, variables: dict[str, Any], said: str) -> None:
    (problem,) = site(tmp_path, **variables).problems()
    assert re.search(rf"/hosts\.yml:[0-9]+: {re.escape(said)}", problem)


def test_a_prometheus_that_is_there_already_stands_for_ours(tmp_path: Path) -> None:
    made = Site(EXISTING, tmp_path)
    made.set("monitoring", {"platform_prometheus_url": "https://me:secret@example.org"})
    made.write()
    (problem,) = read(made.path, DataLoader()).problems()
    assert re.search(r"/hosts\.yml:[0-9]+: platform_prometheus_url: it names a Prometheus that is there", problem)


def test_few_requests_are_enough_where_an_experiment_proves_the_smallest_step(tmp_path: Path) -> None:
    assert site(tmp_path, release_steps=[2, 100]).problems() == []  # with -e gate=metrics


@pytest.mark.parametrize(
    ("verb", "asked", "options", "said"),
    [
        ("release", {"name": ""}, {}, ["no model is named: -e model=iris"]),
        ("experiment", {"name": "iris"}, {"candiate": "2"},
         ["no version or alias is named", "-e candiate: there is no such variable; did you mean candidate?"]),
        ("release", {"name": "iris"}, {"verison": "2"},
         ["-e verison: there is no such variable; did you mean version?"]),
        ("release", {"name": "iris"}, {"gate": "metric"},
         ["gate is 'metric': allowed is metrics, or none at all; did you mean metrics?"]),
    ],
)  # fmt: skip
def test_what_would_not_do_what_was_meant(
    tmp_path: Path, verb: Verb, asked: dict[str, Any], options: dict[str, str], said: list[str]
) -> None:
    inventory = site(tmp_path)
    for variables in inventory.variables.values():
        variables.update({name: OPTION.tag(value) for name, value in options.items()})  # type: ignore[attr-defined]
    arguments = {"asked": [asked], "gate": options.get("gate", ""), "alone": True}
    with pytest.raises(PlatformError) as refused:
        object.__new__(ActionModule)._refuse_misunderstood(verb, arguments, inventory)
    assert len(str(refused.value).splitlines()) == 1 + len(said)
    assert [part for part in said if part not in str(refused.value)] == []


def test_what_is_meant_is_let_pass(tmp_path: Path) -> None:
    inventory = site(tmp_path)
    arguments = {"asked": [{"name": "iris", "version": "2"}], "gate": "metrics", "alone": True}
    object.__new__(ActionModule)._refuse_misunderstood("release", arguments, inventory)


def test_options_are_text_and_become_what_their_keys_are(tmp_path: Path) -> None:
    action, inventory = object.__new__(ActionModule), site(tmp_path)
    (found,) = action._asked([{"name": "iris", "version": "2", "signature_may_change": "yes"}], [], inventory)
    assert (found.version, found.signature_may_change) == (2, True)
    with pytest.raises(PlatformError, match=r"model\[0\].version is 'two': this is text; allowed is a whole number"):
        action._asked([{"name": "iris", "version": "two"}], [], inventory)
