# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow: a whole run as a client makes it, from parameters to a registered model's bytes, and refused logins."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    expect,
)

EXPERIMENT = "mlops-platform-validation"
PROBE_BYTES = 4096


class MlflowApi:
    """The REST API of an MLflow server; every refusal is a CheckFailed with the server's own words.

    An empty `username` logs in nobody. `ca_file` has the authorities that are trusted, "" the public ones.
    """

    def __init__(self, url: str, username: str, password: str, ca_file: str = "") -> None:
        self._url = url
        self._session = requests.Session()
        self._session.auth = (username, password) if username else None
        self._session.verify = ca_file or True

    def call(self, method: str, path: str, **fields: object) -> dict[str, Any]:
        """Call `path` of the REST API with JSON fields (query parameters for GET)."""
        sent = {"params": fields} if method == "GET" else {"json": fields}
        answer = self._send(method, f"/api/2.0/mlflow/{path}", **sent)
        found: dict[str, Any] = answer.json()
        return found

    def artifact(self, method: str, path: str, content: bytes | None = None) -> bytes:
        """PUT, GET or DELETE the artifact `path` through the server."""
        return self._send(method, f"/api/2.0/mlflow-artifacts/artifacts/{path}", data=content).content

    def _send(self, method: str, path: str, **arguments: Any) -> requests.Response:
        answer = self._session.request(method, self._url + path, timeout=REQUEST_SECONDS, **arguments)
        if not answer.ok:
            self._session.close()  # the server ends the connection on which it failed
            raise CheckFailed(
                f"{method} {path} answered {answer.status_code}: {answer.text[:300]}", answer.status_code, 200
            )
        return answer


def experiment(api: MlflowApi, name: str, *, create: bool = True) -> str:
    """The id of an experiment, made where it is not there, restored where it was deleted; "" for none to be made."""
    try:
        found = api.call("GET", "experiments/get-by-name", experiment_name=name)["experiment"]
    except CheckFailed as error:
        if error.observed != 404:
            raise
        return str(api.call("POST", "experiments/create", name=name)["experiment_id"]) if create else ""
    if found["lifecycle_stage"] == "deleted" and create:
        api.call("POST", "experiments/restore", experiment_id=found["experiment_id"])
    return str(found["experiment_id"])


@dataclass(frozen=True)
class MlflowRunCheck(Check):
    """Log a run with parameter, metric and artifact; register it as a model; find it by its alias; compare bytes.

    MLflow keeps deleted runs: the check restores its own run, uses it again and deletes it, so that
    repeated validations leave one deleted experiment and nothing else.
    """

    credentials: str

    def run(self, access: Access) -> tuple[object, object]:
        username, password = access.secret(self.credentials, "username", "password")
        api = MlflowApi(access.url(self.service), username, password)
        with _probe_run(api) as (place, run):
            metric, content = secrets.randbelow(1 << 30) / 8, secrets.token_bytes(PROBE_BYTES)
            api.call("POST", "runs/log-parameter", run_id=run, key="purpose", value="validation")
            api.call("POST", "runs/log-metric", run_id=run, key="probe", value=metric, timestamp=_now())
            data = api.call("GET", "runs/get", run_id=run)["run"]["data"]
            expect([item["value"] for item in data["params"]], ["validation"], "the parameter read back differs")
            expect([item["value"] for item in data["metrics"]], [metric], "the metric read back differs")
            path = f"{place}/{run}/artifacts/model/probe-{secrets.token_hex(4)}.bin"
            api.artifact("PUT", path, content)
            try:
                compared = self._register(api, place, run, path, content)
            finally:
                api.artifact("DELETE", path)
        return compared, f"metric, {PROBE_BYTES} equal bytes by alias"

    def _register(self, api: MlflowApi, place: str, run: str, path: str, content: bytes) -> str:
        """Register the artifact's folder as a model, and download it by way of the model's alias."""
        model = f"{EXPERIMENT}-{secrets.token_hex(4)}"
        api.call("POST", "registered-models/create", name=model)
        try:
            source = f"mlflow-artifacts:/{place}/{run}/artifacts/model"
            version = api.call("POST", "model-versions/create", name=model, source=source, run_id=run)["model_version"]
            api.call("POST", "registered-models/alias", name=model, alias="probe", version=version["version"])
            found = api.call("GET", "registered-models/alias", name=model, alias="probe")["model_version"]
            expect((found["version"], found["run_id"]), (version["version"], run), "the alias leads elsewhere")
            located = api.call("GET", "model-versions/get-download-uri", name=model, version=found["version"])
            uri = located["artifact_uri"]
            expect(uri, source, "the model's location is not where it was registered")
            stored = api.artifact("GET", f"{uri.removeprefix('mlflow-artifacts:/')}/{path.rpartition('/')[2]}")
            expect(stored == content, True, f"the {len(stored)} bytes downloaded are not those uploaded")
        finally:
            api.call("DELETE", "registered-models/delete", name=model)
        return f"metric, {len(stored)} equal bytes by alias"


@dataclass(frozen=True)
class MlflowAccessCheck(Check):
    """A request with a wrong password, and one with none, are refused with 401."""

    credentials: str

    def run(self, access: Access) -> tuple[object, object]:
        username, _ = access.secret(self.credentials, "username", "password")
        url = f"{access.url(self.service)}/api/2.0/mlflow/experiments/search?max_results=1"
        observed = [
            requests.get(url, auth=login, timeout=REQUEST_SECONDS).status_code
            for login in ((username, secrets.token_hex(8)), None)
        ]
        answers = " and ".join(map(str, observed))
        expect(observed, [401, 401], f"a wrong password and none were answered with {answers}, not refused with 401")
        return observed, [401, 401]


def _now() -> int:
    """Milliseconds since the epoch, as MLflow counts time."""
    return int(time.time() * 1000)


@contextlib.contextmanager
def _probe_run(api: MlflowApi) -> Iterator[tuple[str, str]]:
    """The experiment and run of the validation, restored or made; deleted again at the end."""
    place = experiment(api, EXPERIMENT)
    try:
        runs = api.call("POST", "runs/search", experiment_ids=[place], run_view_type="ALL", max_results=1).get(
            "runs", []
        )
        if runs:
            run = runs[0]["info"]["run_id"]
            if runs[0]["info"]["lifecycle_stage"] == "deleted":
                api.call("POST", "runs/restore", run_id=run)
        else:
            created = api.call("POST", "runs/create", experiment_id=place, run_name="validation", start_time=_now())
            run = created["run"]["info"]["run_id"]
        yield place, run
    finally:
        api.call("POST", "experiments/delete", experiment_id=place)
