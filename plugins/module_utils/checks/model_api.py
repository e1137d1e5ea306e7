# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plain serving API: the model that it is told to serve, its answers held against the model itself, its pods."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    External,
    expect,
    parse_endpoint,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi
from ansible_collections.mlops.platform.plugins.module_utils.forward import NobodyReady
from ansible_collections.mlops.platform.plugins.module_utils.models import predict, registry

SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)
"""A line of metrics as Prometheus reads them: name, labels, value."""


@dataclass(frozen=True)
class _Registered(Check):
    """A check that needs a registered model: `model` by its `alias`, or by its `version` where that is not 0.

    `credentials` names the Secret of a user who may read it; empty where the registry asks for no login.
    """

    model: str
    alias: str
    version: int
    credentials: str

    def _login(self, access: Access) -> tuple[str, str]:
        if not self.credentials:
            return "", ""
        username, password = access.secret(self.credentials, "username", "password")
        return username, password

    def _version(self, access: Access, url: str) -> str:
        """The number of the version that is asked for, as the registry knows it."""
        api = MlflowApi(url, *self._login(access), access.ca_file)
        version = str(self.version) if self.version else ""
        return str(registry.registered_version(api, self.model, self.alias, version)["version"])


@dataclass(frozen=True)
class MlflowModelCheck(_Registered):
    """The registry at `service` has the model, and lets the user of `credentials` read it."""

    def run(self, access: Access) -> tuple[object, object]:
        try:
            found = self._version(access, access.url(self.service))
        except registry.NotRegistered as error:
            step = "register it, or name another in model_api_model_name, model_api_model_alias"
            raise CheckFailed(f"{error}: {step}", None, self.model) from error
        return f"{self.model} version {found}", f"{self.model} {self.version or '@' + self.alias}"


@dataclass(frozen=True)
class ModelApiCheck(_Registered):
    """The service answers as the model itself does in a process of this machine, with the version that is asked for.

    It refuses a row that does not fit the signature, naming it, and counts what it has answered. `registry` is where
    the model is registered: {name, port, namespace}, or {url, variable, ...}.
    """

    registry: Mapping[str, Any] = field(kw_only=True)

    def run(self, access: Access) -> tuple[object, object]:
        where = parse_endpoint(self.registry, self.name)
        tracking = where.url if isinstance(where, External) else access.url(where)
        version = self._version(access, tracking)
        url = access.url(self.service)
        username, password = self._login(access)
        login = {"MLFLOW_TRACKING_USERNAME": username, "MLFLOW_TRACKING_PASSWORD": password} if username else {}
        trust = {"REQUESTS_CA_BUNDLE": access.ca_file} if access.ca_file else {}
        with requests.Session() as session:
            self._served(session, url, version)  # before seconds are spent on what it should predict
        itself = predict.in_process({"MLFLOW_TRACKING_URI": tracking, **login, **trust}, self.model, version)
        rows = rows_of(itself.request)
        with requests.Session() as session:  # one connection, and so one pod, whose counters are looked at
            served = self._served(session, url, version)
            before = counted(session, url)
            answer = _predict(session, url, rows)
            expect(answer.status_code, 200, f"POST /predict answered {answer.status_code}: {answer.text[:300]}")
            got = answer.json()
            if wrong := predict.differences(itself.outputs, [{"name": "predictions", "data": got["predictions"]}]):
                raise CheckFailed("; ".join(wrong), got["predictions"], [item["data"] for item in itself.outputs])
            expect(got["model"], {"name": self.model, "version": version}, "another version answered")
            refused = self._refused(session, url, rows) if served["inputs"] else 0
            after = counted(session, url)
            asked = {"200": 1, "422": refused, "rows": len(rows)}
            missing = {key: number for key, number in asked.items() if after[key] - before[key] < number}
            expect(missing, {}, f"/metrics does not count what was asked: {missing}")
        said = f"{len(rows)} predictions of {self.model} version {version} in {got['latency_ms']:.1f} ms"
        return said, f"those of the model itself, for {itself.source}"

    def _served(self, session: requests.Session, url: str, version: str) -> dict[str, Any]:
        """What /model/info says of the model; the version that is asked for is waited for, while it is loaded."""
        info = session.get(f"{url}/model/info", timeout=REQUEST_SECONDS).json()
        if failure := info["failure"]:
            if failure["version"] != version:  # it has not looked again since
                raise NobodyReady(f"version {version} of {self.model} is asked for; before: {failure['reason']}")
            raise CheckFailed(failure["reason"], info["model"] and info["model"]["version"], version)
        found: dict[str, Any] = info["model"] or {"version": None}
        if found["version"] != version:
            raise NobodyReady(f"version {version} of {self.model} is asked for, version {found['version']} is served")
        return found

    def _refused(self, session: requests.Session, url: str, rows: list[list[Any]]) -> int:
        """The number of refusals of a row that lacks its last value: 1."""
        answer = _predict(session, url, [rows[0][:-1]]) if len(rows[0]) > 1 else _predict(session, url, [[[]]])
        said = f"a row that does not fit the signature was answered with {answer.status_code}: {answer.text[:300]}"
        expect(answer.status_code, 422, said)
        fields = [item["field"].partition(" ")[0] for item in answer.json()["fields"]]
        expect(fields[:1] in (["features[0]"], ["features[0][0]"], ["features"]), True, f"it names the fields {fields}")
        return 1


def _predict(session: requests.Session, url: str, rows: list[list[Any]]) -> requests.Response:
    return session.post(f"{url}/predict", json={"features": rows}, timeout=REQUEST_SECONDS)


def rows_of(request: Mapping[str, Any]) -> list[list[Any]]:
    """The rows of a V2 request whose inputs are columns, or one tensor. Raises CheckFailed for other shapes."""
    inputs = request["inputs"]
    if len(inputs) == 1 and len(inputs[0]["shape"]) == 2:
        width = inputs[0]["shape"][1]
        data = inputs[0]["data"]
        return [data[place : place + width] for place in range(0, len(data), width)]
    if any(list(item["shape"][1:]) not in ([], [1]) for item in inputs):
        shapes = [item["shape"] for item in inputs]
        raise CheckFailed("the model's rows are no rows of values", shapes, "columns, or one tensor")
    return [list(row) for row in zip(*(item["data"] for item in inputs), strict=True)]


def counted(session: requests.Session, url: str) -> dict[str, float]:
    """What a pod has counted: answers to /predict by their status, and the rows that it has predicted."""
    text = session.get(f"{url}/metrics", timeout=REQUEST_SECONDS).text
    found = {"200": 0.0, "422": 0.0, "rows": 0.0}
    for name, labels, value in SAMPLE.findall(text):
        if name == "model_predictions_total":
            found["rows"] += float(value)
        elif name == "model_api_requests_total" and 'route="/predict"' in labels:
            for status in ("200", "422"):
                found[status] += float(value) if f'status="{status}"' in labels else 0
    return found
