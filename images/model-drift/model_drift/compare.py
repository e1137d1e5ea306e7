"""The comparison: the rows that a model was given against those that it was trained with, by Evidently."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Any

import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

from model_drift.settings import Settings
from model_drift.storage import Logged, Storage

LOG = logging.getLogger("model_drift")
PREDICTION = "prediction"
MOST_CATEGORIES = 50
"""A column of whole numbers or texts with more different values is no set of categories."""
COMPARED, FEW, LACKING, FAILED = "compared", "too_few_rows", "no_reference", "failed"


class Incomparable(Exception):
    """Rows and a reference that do not go together, and why."""


def run(settings: Settings) -> None:
    """Compare all versions that log their inputs. What cannot be compared is stated like all else."""
    storage = Storage(settings)
    seen = set[str]()
    for logged in storage.versions():
        rows = storage.rows(logged)
        if rows.empty and logged.model in seen:  # a version that nobody asks any more
            storage.forget(logged)
            continue
        seen.add(logged.model)
        summary, report = compared(settings, storage, logged, rows)
        storage.publish(logged, summary, report)
        LOG.info("%s version %s: %s, %s", logged.model, logged.version, summary["status"], summary["reason"])
    if not settings.only:
        LOG.info("%d files of old rows removed", storage.clean())


def compared(settings: Settings, storage: Storage, logged: Logged, rows: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """What the comparison of one version comes to, and the files of the report."""
    now = datetime.now(UTC)
    summary: dict[str, Any] = {
        "model": logged.model, "version": logged.version, "moment": now.timestamp(), "status": COMPARED, "reason": "",
        "rows": {"logged": len(rows)}, "window_hours": settings.window_hours, "report": f"{now:%Y-%m-%dT%H%M%SZ}",
    }  # fmt: skip
    if not logged.reference:
        return summary | {"status": LACKING, "reason": "the model was deployed without a reference"}, {}
    if len(rows) < settings.minimum_rows:
        reason = f"{len(rows)} rows in {settings.window_hours} h; at least {settings.minimum_rows} are compared"
        return summary | {"status": FEW, "reason": reason}, {}
    try:
        reference = storage.reference(logged.reference)
        summary["rows"]["reference"] = len(reference)
        result, report = evaluate(reference, rows, settings.share)
    except Exception as error:  # noqa: BLE001  (whatever a model's rows are: the next model is compared all the same)
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        return summary | {"status": FAILED, "reason": reason}, {}
    drifted = [name for name, item in result["features"].items() if item["drifted"]]
    said = f"{len(drifted)} of {len(result['features'])} features drifted" + (
        f": {', '.join(drifted)}" if drifted else ""
    )
    return summary | result | {"reason": said}, report


def evaluate(reference: Any, rows: Any, share: float) -> tuple[dict[str, Any], dict[str, str]]:
    """Evidently's verdict on each feature, and its report as HTML and JSON. Raises Incomparable."""
    numbers, categories = kinds(reference, current := without_own(rows))
    definition = DataDefinition(numerical_columns=numbers, categorical_columns=categories)
    names = numbers + categories
    tables = [
        Dataset.from_pandas(pd.DataFrame({name: table[name] for name in names}), data_definition=definition)
        for table in (current, reference)
    ]
    snapshot = Report([DataDriftPreset(drift_share=share)]).run(*tables)
    metrics = snapshot.dict()["metrics"]
    features = {item["config"]["column"]: verdict(item) for item in metrics if "column" in item["config"]}
    counted = next(item["value"] for item in metrics if item["config"]["type"].endswith(":DriftedColumnsCount"))
    drifted = sum(item["drifted"] for item in features.values())
    if drifted != int(counted["count"]):
        raise Incomparable(f"Evidently counts {counted['count']} drifted features, its scores say {drifted}")
    result = {"share": float(counted["share"]), "detected": float(counted["share"]) >= share, "features": features}
    return result, {"report.html": snapshot.get_html_str(False), "report.json": snapshot.json()}


def verdict(metric: dict[str, Any]) -> dict[str, Any]:
    """One feature's score. That of a test is a probability, and small where it drifted; a distance is large there."""
    score, config = float(metric["value"]), metric["config"]
    method, threshold = str(config["method"]), float(config["threshold"])
    drifted = score < threshold if method.endswith("p_value") else score >= threshold
    return {"score": score, "method": method, "threshold": threshold, "drifted": drifted}


def without_own(rows: Any) -> Any:
    """The features of logged rows, and the prediction under the name that references have for it."""
    features = rows[[name for name in rows.columns if not name.startswith("_")]]
    if "_prediction" in rows.columns and PREDICTION not in features.columns:
        return features.assign(**{PREDICTION: rows["_prediction"]})
    return features


def kinds(reference: Any, current: Any) -> tuple[list[str], list[str]]:
    """The columns to compare, numbers and categories. Raises Incomparable where a feature is not in the reference."""
    lacking = [name for name in current.columns if name not in reference.columns and name != PREDICTION]
    if lacking:
        raise Incomparable(f"the reference lacks {', '.join(lacking)}; it has {', '.join(map(str, reference.columns))}")
    numbers, categories = [], []
    for name in current.columns.intersection(reference.columns):
        few = max(table[name].nunique() for table in (reference, current)) <= MOST_CATEGORIES
        numeric = all(table[name].dtype.kind in "iuf" for table in (reference, current))
        whole = all(table[name].dtype.kind in "iu" for table in (reference, current))
        if numeric and not (whole and few and name == PREDICTION):
            numbers.append(name)
        elif few:
            categories.append(name)
    if not numbers and not categories:
        raise Incomparable("no column of numbers or categories is in both the reference and the log")
    return numbers, categories
