"""What the drift of models is compared with, what is told of it, and what the program takes of its environment."""

from __future__ import annotations

import json
import os
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from model_drift.exporter import MOST_FEATURES, Drift
from model_drift.settings import Settings, SettingsError
from model_drift.storage import Storage
from prometheus_client import CollectorRegistry
from pyarrow import fs

SAID = {
    "MODEL_DRIFT_INPUTS_URI": "s3://inputs", "MODEL_DRIFT_REPORTS_URI": "s3://reports", "MODEL_DRIFT_ACCESS_KEY": "a",
    "MODEL_DRIFT_SECRET_KEY": "b", "MODEL_DRIFT_REFERENCE_ACCESS_KEY": "c", "MODEL_DRIFT_REFERENCE_SECRET_KEY": "d",
    "MODEL_DRIFT_ENDPOINT_URL": "http://s3:9000",
}  # fmt: skip
ROWS = pd.DataFrame({"x": range(10), "_prediction": [0, 1] * 5})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MODEL_DRIFT_ACCESS_KEY": ""}, "MODEL_DRIFT_ACCESS_KEY: not set"),
        ({"MODEL_DRIFT_WINDOW_HOURS": "soon"}, "MODEL_DRIFT_WINDOW_HOURS is 'soon'; allowed are numbers above 0"),
        ({"MODEL_DRIFT_SHARE": "-1"}, "MODEL_DRIFT_SHARE is '-1'"),
    ],
)
def test_what_the_environment_lacks_is_named(change: dict[str, str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        Settings.read(SAID | change)


def test_the_environment_has_types() -> None:
    settings = Settings.read(SAID | {"MODEL_DRIFT_SHARE": "0.25", "MODEL_DRIFT_MINIMUM_ROWS": "7"})
    assert (settings.share, settings.minimum_rows, settings.window_hours) == (0.25, 7, 24)


@pytest.fixture
def buckets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of an S3 service."""
    root = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr("model_drift.storage.connect", lambda *_: root)
    (tmp_path / "inputs").mkdir()
    (tmp_path / "reports").mkdir()
    return tmp_path


def logs(buckets: Path, model: str, version: str, started: str = "2026-11-21T10:00:00+00:00") -> Path:
    folder = buckets / "inputs" / model / version / "2026-11-21"
    folder.mkdir(parents=True)
    about = {"model": model, "version": version, "reference": "s3://artifacts/reference.json", "started": started}
    (folder.parent / "model.json").write_text(json.dumps(about))
    ROWS.to_parquet(folder / "1.parquet")
    return folder


def storage(**changes: Any) -> Storage:
    said = {f"MODEL_DRIFT_{key.upper()}": str(value) for key, value in changes.items()}
    return Storage(Settings.read(SAID | said))


def test_the_rows_of_the_window_are_read_and_the_newest_of_them(buckets: Path) -> None:
    folder = logs(buckets, "iris", "1")
    ROWS.assign(x=77).to_parquet(folder / "2.parquet")
    old = (datetime.now(UTC) - timedelta(hours=30)).timestamp()
    ROWS.assign(x=-1).to_parquet(folder / "0.parquet")
    for name, moment in (("0", old), ("1", old + 28 * 3600)):
        os.utime(folder / f"{name}.parquet", (moment, moment))
    (logged,) = storage().versions()
    assert len(storage().rows(logged)) == 20
    assert storage(maximum_rows=12).rows(logged)["x"].tolist() == [8, 9] + [77] * 10
    assert len(storage(window_hours=100).rows(logged)) == 30
    assert storage(keep_days=1).clean() == 1
    assert sorted(item.name for item in folder.iterdir()) == ["1.parquet", "2.parquet"]


def test_the_newest_version_comes_first_and_trials_are_left_out(buckets: Path) -> None:
    logs(buckets, "iris", "1")
    logs(buckets, "iris", "2", "2026-11-21T11:00:00+00:00")
    logs(buckets, ".trial", "1")
    assert [(item.model, item.version) for item in storage().versions()] == [("iris", "2"), ("iris", "1")]
    assert [item.model for item in storage(only=".trial").versions()] == [".trial"]


@pytest.mark.parametrize(
    "written",
    [
        lambda path: ROWS.to_parquet(path.with_suffix(".parquet")),
        lambda path: path.write_text(json.dumps({"columns": ["x", "_prediction"], "data": ROWS.to_numpy().tolist()})),
        lambda path: path.write_text(json.dumps(ROWS.to_dict("split"))),
        lambda path: path.write_text(json.dumps(ROWS.to_dict("records"))),
        lambda path: path.write_text(json.dumps({"rows": {"columns": list(ROWS), "data": ROWS.to_numpy().tolist()}})),
    ],
)
def test_references_are_read_as_they_are_logged(buckets: Path, written: Any) -> None:
    (buckets / "artifacts").mkdir()
    written(buckets / "artifacts" / "reference.json")
    (path,) = (buckets / "artifacts").iterdir()
    found = storage().reference(f"s3://artifacts/{path.name}")
    assert found[["x", "_prediction"]].to_numpy().tolist() == ROWS.to_numpy().tolist()
    assert len(storage(maximum_rows=3).reference(f"s3://artifacts/{path.name}")) == 3


def summary(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "version": "1", "moment": 1.0, "status": "compared", "reason": "", "rows": {"logged": 10},
            "report": "2026-11-21T100000Z", **more}  # fmt: skip


def test_reports_are_kept_as_far_as_asked_and_the_newest_is_told(buckets: Path) -> None:
    logs(buckets, "iris", "1")
    own = storage(keep_reports=2)
    (logged,) = own.versions()
    for hour in range(4):
        name = f"2026-11-21T1{hour}0000Z"
        (buckets / "reports" / "iris" / "1" / name).mkdir(parents=True)
        own.publish(logged, summary("iris", report=name, moment=float(hour)), {"report.html": "<html>"})
    folders = sorted(item.name for item in (buckets / "reports" / "iris" / "1").iterdir())
    assert folders == ["2026-11-21T120000Z", "2026-11-21T130000Z", "latest.json"]
    (buckets / "reports" / ".trial" / "1").mkdir(parents=True)
    (buckets / "reports" / ".trial" / "1" / "latest.json").write_text(json.dumps(summary(".trial")))
    assert [(item["model"], item["moment"]) for item in own.latest()] == [("iris", 3.0)]
    own.forget(logged)
    own.forget(logged)
    assert list(own.latest()) == []


def samples(drift: Drift) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(drift)
    return {f"{item.name}{sorted(item.labels.values())}": item.value
            for family in registry.collect() for item in family.samples}  # fmt: skip


def test_what_was_not_compared_has_not_drifted_nor_not_drifted() -> None:
    drift = Drift()
    drift.summaries = [summary("iris", status="too_few_rows")]
    found = samples(drift)
    assert found["model_drift_status['1', 'iris', 'too_few_rows']"] == 1
    assert found["model_drift_status['1', 'compared', 'iris']"] == 0
    assert not any(name.startswith(("model_drift_detected", "model_drift_share")) for name in found)


def test_features_that_drifted_are_told_first() -> None:
    features = {
        f"f{number}": {"score": 0.5, "method": "K-S p_value", "threshold": 0.05, "drifted": number == 2 * MOST_FEATURES}
        for number in range(2 * MOST_FEATURES + 1)
    }
    drift = Drift()
    drift.summaries = [summary("wide", share=0.1, detected=False, features=features)]
    told = {name: value for name, value in samples(drift).items() if name.startswith("model_drift_feature_drifted")}
    assert len(told) == MOST_FEATURES
    assert sum(told.values()) == 1


def test_reports_that_cannot_be_read_leave_what_was_read(buckets: Path, caplog: pytest.LogCaptureFixture) -> None:
    drift, own = Drift(), storage()
    (buckets / "reports" / "iris" / "1").mkdir(parents=True)
    path = buckets / "reports" / "iris" / "1" / "latest.json"
    path.write_text(json.dumps(summary("iris")))
    drift.read(own)
    before = drift.read_at
    assert before > time.time() - 60
    path.write_text("{")
    drift.read(own)
    assert ([item["model"] for item in drift.summaries], drift.read_at) == (["iris"], before)
    assert "the reports cannot be read" in caplog.messages[0]
