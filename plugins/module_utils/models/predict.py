# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Predictions of an endpoint by the V2 protocol, and whether they are those of the model itself."""

from __future__ import annotations

import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.process import run

REFERENCE = Path(__file__).with_name("reference.py")
REFERENCE_SECONDS = 300
FIRST_SECONDS = 60
"""Time for an answer of an endpoint: one that was scaled to nothing has to start first."""
TOLERANCE = 1e-6
"""The relative difference of two numbers that are the same prediction: single precision (IEEE 754) keeps 7 digits."""
LONGEST_SAID = 3
"""Rows that a message names."""


@dataclass(frozen=True)
class Reference:
    """What a model itself predicts.

    `request` is the V2 request of its rows, `outputs` are the V2 outputs that an endpoint must answer with,
    `rows` is their number, `source` says where the rows are from. `labels` are what is right for each row; empty where
    nobody said.
    """

    request: Mapping[str, Any]
    outputs: Sequence[Mapping[str, Any]]
    rows: int
    source: str
    labels: Sequence[Any] = ()


@dataclass(frozen=True)
class Answer:
    """An endpoint's answer: HTTP status, decoded body (text where it is no JSON), seconds until it was whole."""

    status: int
    body: Any
    seconds: float
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """The version of the model that answered, as it says itself; empty where it does not."""
        return str(self.body.get("model_version") or "") if isinstance(self.body, Mapping) else ""

    @property
    def outputs(self) -> list[dict[str, Any]]:
        """The V2 outputs; none in an answer that is no prediction."""
        found: list[dict[str, Any]] = self.body.get("outputs") or [] if isinstance(self.body, Mapping) else []
        return found


class V2Client:
    """A model's endpoint by the V2 protocol, over connections that are kept; may be used by many threads.

    `pool` leads to where it answers (gateway.connections for one at the edge), `host` is the name that it is asked
    for, `model` its InferenceService. `headers` are sent with each request.
    """

    def __init__(
        self, pool: urllib3.HTTPConnectionPool, host: str, model: str, headers: Mapping[str, str] | None = None
    ) -> None:
        self._pool = pool
        self._path = f"/v2/models/{model}"
        self._headers = {**(headers or {}), "Host": host, "Content-Type": "application/json"}

    def infer(self, request: Mapping[str, Any], timeout: float = FIRST_SECONDS) -> Answer:
        """Ask for a prediction. Raises urllib3.exceptions.HTTPError where no answer came."""
        return self._post("infer", request, timeout)

    def feedback(self, version: str, good: int, bad: int, timeout: float = FIRST_SECONDS) -> Answer:
        """Tell how many predictions of a version turned out to be good and bad. Raises as `infer` does."""
        return self._post("feedback", {"model_version": version, "good": good, "bad": bad}, timeout)

    def _post(self, what: str, content: Mapping[str, Any], timeout: float) -> Answer:
        body = json.dumps(content).encode()
        started = time.perf_counter()
        answer = self._pool.request(
            "POST",
            f"{self._path}/{what}",
            body=body,
            headers=self._headers,
            timeout=timeout,
            retries=False,
            redirect=False,
        )
        seconds = time.perf_counter() - started
        text = answer.data.decode("utf-8", "replace")
        try:
            return Answer(answer.status, json.loads(text), seconds, answer.headers)
        except ValueError:
            return Answer(answer.status, text, seconds, answer.headers)


def in_process(
    tracking: Mapping[str, str], name: str, version: str, rows: str = "", hidden: Sequence[str] = ()
) -> Reference:
    """What a version predicts in a process of this machine, for its held-out rows.

    `tracking` are MLflow's own environment variables (MLFLOW_TRACKING_URI and the login). The rows are those of the
    file `rows`, or those that the model's run logged as held_out.json, or the input example. `hidden` are packages that
    the server does not have, and that the process therefore must not find either. Raises PlatformError with what the
    model said where it does not load or predict.
    """
    environment = {
        **os.environ,
        **tracking,
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
        "PYTHONWARNINGS": "ignore",
    }
    what = f"version {version} of the model {name} in a process of this machine"
    with tempfile.TemporaryDirectory(prefix="mlops-platform-model-") as folder:
        command: list[str | Path] = [sys.executable, REFERENCE, name, version, folder, rows, *hidden]
        run(command, what=what, env=environment, timeout=REFERENCE_SECONDS)
        found = json.loads((Path(folder) / "reference.json").read_text(encoding="utf-8"))
    if problem := found.get("problem"):
        raise PlatformError(f"version {version} of the model {name}: {problem}")
    return Reference(**found)


def shortened(content: object, longest: int = 300) -> str:
    """What messages show of an answer: on one line, at most `longest` characters of it."""
    text = " ".join(str(content).split())
    return text if len(text) <= longest else f"{text[:longest]}..."


def row(request: Mapping[str, Any], number: int = 0) -> dict[str, Any]:
    """The V2 request of one row alone, the first one where no number is said."""
    inputs = []
    for item in request["inputs"]:
        shape = [1, *item["shape"][1:]]
        size = math.prod(shape)
        inputs.append({**item, "shape": shape, "data": item["data"][number * size : (number + 1) * size]})
    return {**request, "inputs": inputs}


def differences(expected: Sequence[Mapping[str, Any]], got: Sequence[Mapping[str, Any]]) -> list[str]:
    """Where the outputs of an endpoint are not those of the model itself, for people; empty where they are the same.

    Outputs go by their names; a single one has none that matters. Numbers may differ by TOLERANCE.
    """
    if len(expected) == len(got) == 1:
        pairs = [(str(expected[0].get("name")), expected[0], got[0])]
    else:
        answered = {str(item.get("name")): item for item in got}
        lost = [str(item.get("name")) for item in expected if str(item.get("name")) not in answered]
        if lost or len(got) != len(expected):
            names = ", ".join(answered) or "nothing"
            return [f"the outputs are {names}, expected {', '.join(str(item.get('name')) for item in expected)}"]
        pairs = [(str(item.get("name")), item, answered[str(item.get("name"))]) for item in expected]
    found: list[str] = []
    for name, mine, theirs in pairs:
        wanted, given = flat(mine.get("data")), flat(theirs.get("data"))
        if len(wanted) != len(given):
            found.append(f"{name} has {len(given)} values, expected {len(wanted)}")
            continue
        bad = [number for number, pair in enumerate(zip(wanted, given, strict=True)) if not same(*pair)]
        said = ", ".join(f"[{number}] {given[number]!r} is not {wanted[number]!r}" for number in bad[:LONGEST_SAID])
        if bad:
            found.append(f"{len(bad)} of {len(wanted)} values of {name} differ: {said}")
    return found


def flat(data: Any) -> list[Any]:
    """The values of an output in their order, whatever the shape in which they were written; None for no number."""
    if isinstance(data, (list, tuple)):
        return [value for item in data for value in flat(item)]
    return [None if isinstance(data, float) and math.isnan(data) else data]


def same(wanted: Any, given: Any) -> bool:
    """Whether two values are the same prediction."""
    if isinstance(wanted, (int, float)) and isinstance(given, (int, float)):
        return math.isclose(wanted, given, rel_tol=TOLERANCE, abs_tol=1e-12)
    return bool(wanted == given)
