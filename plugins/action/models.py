# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Say what a run has to do to each model: those that are asked for, and those that are served."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any, ClassVar

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.mlops.platform.plugins.module_utils import certificates
from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.component import build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.experiments.settings import Settings as Experiment
from ansible_collections.mlops.platform.plugins.module_utils.models.declared import contradictions
from ansible_collections.mlops.platform.plugins.module_utils.models.deploy import component_name, recorded
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import Settings
from ansible_collections.mlops.platform.plugins.module_utils.models.plan import Verb, plan
from ansible_collections.mlops.platform.plugins.module_utils.models.release import Rules
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import faults, nearest, shown
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction, refuse
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import run_directory
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory

DECLARED = "platform_models"
METRICS = "metrics"
"""The gate of a release that is decided by what users experience."""


class ActionModule(PlatformAction):
    """See plugins/modules/models.py for the documentation."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "verb": {
            "type": "str",
            "choices": ["provision", "validate", "remove", "release", "experiment"],
            "default": "provision",
        },
        "gate": {"type": "str", "default": ""},
        "asked": {"type": "list", "elements": "dict", "default": []},
        "alone": {"type": "bool", "default": False},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        inventory = Inventory.of(self, task_vars)
        host, mlflow = inventory.of_role("kserve"), inventory.of_role("mlflow")
        if not host or not mlflow:
            raise PlatformError("models need the components kserve and mlflow in the group components of the inventory")

        def value(name: str, role: str = "kserve", of: str = host) -> Any:
            return json.loads(json.dumps(inventory.effective(of, role, name)))

        serving = inventory.serving()
        declared = [build(Settings, item, DECLARED) for item in value(DECLARED)]
        verb: Verb = arguments["verb"]
        self._refuse_misunderstood(verb, arguments, inventory)
        asked = self._asked(arguments["asked"], value(DECLARED), inventory)
        moving: dict[str, Any] = {"release": {}, "experiment": {}}
        if verb in ("release", "experiment"):
            gated = verb == "experiment" or arguments["gate"] == METRICS
            moving = self._moving(value, inventory.of_role("knative"), verb, gated=gated)
        cluster = connect(value("platform_kubeconfig"))
        served = recorded(cluster, serving.namespace)
        steps = plan(verb, declared, asked, served, alone=arguments["alone"])
        directory = run_directory(task_vars)
        shared = {
            "serving": asdict(serving),
            "mlflow": {
                "service": {
                    "name": "mlflow",
                    "port": value("mlflow_port", "mlflow", mlflow),
                    "namespace": value("mlflow_namespace", "mlflow", mlflow),
                },
                "credentials": f"{value('mlflow_namespace', 'mlflow', mlflow)}/mlflow-service",
                "artifact_root": value("mlflow_artifact_root", "mlflow", mlflow),
            },
            "own_server": "kserve_model_server_image" not in inventory.variables[host],
            "kubeconfig": value("platform_kubeconfig"),
            "authorities": certificates.read(str(value("platform_ca_certificates") or "")),
            "run_directory": str(directory or ""),
            **moving,
        }
        models = [
            {"host": component_name(record.settings.name), "verb": verb, "record": asdict(record), **shared}
            for verb, record in steps
        ]
        return {"changed": False, "models": models}

    def _refuse_misunderstood(self, verb: Verb, arguments: Mapping[str, Any], inventory: Inventory) -> None:
        """Raise PlatformError for all that was given by -e and would not do what was meant."""
        asked, gate = arguments["asked"], str(arguments["gate"])
        problems: list[str] = []
        if any(not item.get("name") for item in asked):
            problems.append("no model is named: -e model=iris")
        if verb == "experiment" and any(not {"alias", "version"} & set(item) for item in asked):
            problems.append("no version or alias is named that the one that is served is compared with: -e candidate=2")
        if gate not in ("", METRICS):
            problems.append(f"gate is {shown(gate)}: allowed is {METRICS}, or none at all{nearest(gate, [METRICS])}")
        if arguments["alone"]:
            options = inventory.descriptions["platform"].options[DECLARED]["options"]
            problems += inventory.misspelt_options({*options, "model", "candidate", "gate"} - {"name"})
        refuse(problems)

    def _moving(self, value: Callable[..., Any], knative: str, verb: Verb, *, gated: bool) -> dict[str, Any]:
        """How requests go to another version, by the variables release_*, and how it is decided where that is `gated`.

        An experiment is a release with one share that it decides at; in a release it is the last one below 100 %.
        Raises PlatformError where variables contradict themselves.
        """
        rules = {item.name: value(f"release_{item.name}") for item in fields(Rules) if item.name != "gate"}
        alias = value("release_alias")
        experiment: dict[str, Any] = {}
        if gated:
            settings = {item.name: value(f"experiment_{item.name}") for item in fields(Experiment)}
            if verb == "experiment":
                rules["steps"], alias = [settings["split"], 100], value("experiment_alias")
            if len(rules["steps"]) > 1:
                settings["split"] = rules["steps"][-2]
            experiment = {
                "settings": asdict(Experiment(**settings)),
                "prometheus": self._prometheus(value),
                "demand": "better" if verb == "experiment" else "no worse",
            }
            rules["gate"] = settings["split"]
        checked = Rules(**{**rules, "steps": tuple(rules["steps"])})
        if gated and len(checked.steps) == 1:
            raise PlatformError(
                f"release_steps is {rules['steps']}: the gate {METRICS} compares two versions side by side: allowed "
                "are steps with one below 100, such as [50, 100]"
            )
        release = {
            "rules": asdict(checked),
            "alias": alias,
            "knative_namespace": value("knative_namespace", "knative", knative) if knative else "",
        }
        return {"release": release, "experiment": experiment}

    def _prometheus(self, value: Callable[..., Any]) -> Any:
        """Where Prometheus answers. Raises PlatformError where there is none."""
        if not value("__platform_has_monitoring"):
            raise PlatformError(
                "it is decided by metrics, which nobody collects here: add the component monitoring to the group "
                "components of the inventory, or name a Prometheus that is there already (platform_prometheus_url)"
            )
        return value("__platform_prometheus")

    def _asked(
        self, asked: list[dict[str, Any]], declared: list[dict[str, Any]], inventory: Inventory
    ) -> list[Settings]:
        """The models that are asked for besides those of the inventory, whose entries they change where they have one.

        Raises PlatformError for all that is wrong with them.
        """
        entries = {item["name"]: item for item in declared}
        option = inventory.descriptions["platform"].options[DECLARED]
        typed = [{key: _typed(key, value, option["options"]) for key, value in item.items()} for item in asked]
        whole = [_changed(entries.get(item["name"], {}), item) for item in typed]
        own = inventory.descriptions["platform"].formats
        found = list(faults(DECLARED, whole, option, own))
        found = found or list(contradictions(whole, inventory.serving(), list(inventory.components)))
        refuse([f"{where.replace(DECLARED, 'model')} is {shown(given)}: {matter}" for where, given, matter in found])
        return [build(Settings, item, "model") for item in whole]


def _typed(key: str, given: Any, options: Mapping[str, Any]) -> Any:
    """A value in the type of its key: what stands behind -e is text. What is nothing of that type stays as it is."""
    checked = ArgumentSpecValidator({key: dict(options[key])}).validate({key: given}) if key in options else None
    return given if checked is None or checked.error_messages else checked.validated_parameters[key]


def _changed(entry: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """An entry with what was given in its place; a version stands for an alias, and the other way round."""
    instead = {"version": "alias", "alias": "version"}
    dropped = {instead[key] for key in given if key in instead}
    return {key: item for key, item in entry.items() if key not in dropped} | dict(given)
