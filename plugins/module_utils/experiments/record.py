# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decisions as runs of MLflow: versions and settings as parameters, numbers as metrics, the whole as an artifact."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi, experiment
from ansible_collections.mlops.platform.plugins.module_utils.models.registry import ModelVersion, folder

DECISION = "decision"
"""The tag that says what was decided: only a run with it was an experiment that came to its end."""
PLOT = "comparison.svg"
WHOLE = "decision.json"
PARAMETERS = ("split", "rate", "seconds", "alpha", "power", "look", "demand", "requests")


class Record:
    """The experiments with one model; they are runs of MLflow's experiment `<model>-experiments`."""

    def __init__(self, api: MlflowApi, model: str, artifact_root: str) -> None:
        self._api, self._root = api, artifact_root
        self.name = f"{model}-experiments"

    def decisions(self, candidate: ModelVersion, champion: ModelVersion | None = None) -> list[str]:
        """What was decided on a candidate, against one champion or any, newest first."""
        place = experiment(self._api, self.name, create=False)
        if not place:
            return []
        versions = {"candidate": candidate} | ({"champion": champion} if champion else {})
        wanted = " and ".join(
            f"params.{role}_version = '{version.version}' and params.{role}_run_id = '{version.run_id}'"
            for role, version in versions.items()
        )
        found = self._api.call(
            "POST",
            "runs/search",
            experiment_ids=[place],
            filter=wanted,
            max_results=1000,
            order_by=["attributes.start_time DESC"],
        )
        tags = [{item["key"]: item["value"] for item in run["data"]["tags"]} for run in found.get("runs") or []]
        return [item[DECISION] for item in tags if DECISION in item]

    def write(self, document: Mapping[str, Any], plot: str) -> str:
        """Log a decision; returns the id of its run. The tag comes last, so that a run with it is whole."""
        api, now = self._api, int(time.time() * 1000)
        name = f"{document['candidate']['version']} against {document['champion']['version']}"
        created = api.call(
            "POST",
            "runs/create",
            experiment_id=experiment(api, self.name),
            run_name=name,
            start_time=round(document["began"] * 1000),
        )
        about = created["run"]["info"]
        place = folder(about["artifact_uri"], self._root)
        content = json.dumps(document, indent=2, sort_keys=True).encode()
        for file, data in ((WHOLE, content), (PLOT, plot.encode())):
            api.artifact("PUT", f"{place}/{file}", data)
        roles = {
            f"{role}_{key}": document[role][key] for role in ("champion", "candidate") for key in ("version", "run_id")
        }
        parameters = {"model": document["model"], **roles, **{key: document[key] for key in PARAMETERS}}
        api.call(
            "POST",
            "runs/log-batch",
            run_id=about["run_id"],
            params=[{"key": key, "value": str(value)} for key, value in parameters.items()],
            metrics=[{"key": key, "value": value, "timestamp": now} for key, value in numbers(document).items()],
            tags=[
                {"key": "mlflow.note.content", "value": f"**{document['outcome']}**: {document['reason']}"},
                {"key": DECISION, "value": document["outcome"]},
            ],
        )
        api.call("POST", "runs/update", run_id=about["run_id"], status="FINISHED", end_time=now)
        return str(about["run_id"])


def numbers(document: Mapping[str, Any]) -> dict[str, float]:
    """The numbers of a decision as MLflow's metrics: what it can draw and compare."""
    found: dict[str, float] = {"needed_requests": document["needed"], "lost_requests": document["lost"]}
    for measure in document["measures"]:
        name = measure["name"].replace(" ", "_")
        found |= {f"{name}_{key}": measure[key] for key in ("difference", "low", "high", "p_worse", "p_better")}
        for role in ("champion", "candidate"):
            found |= {f"{name}_{role}_{key}": measure[role][key] for key in ("share", "total", "dispersion")}
    for role in ("champion", "candidate"):
        for key in ("p95_seconds", "client_p95_seconds"):
            if document[role][key] is not None:
                found[f"{role}_{key}"] = document[role][key]
    return found
