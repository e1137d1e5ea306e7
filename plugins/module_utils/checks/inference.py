# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A model's endpoint predicts what the model itself predicts in a process of this machine."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    Service,
)
from ansible_collections.mlops.platform.plugins.module_utils.checks.edge import EdgeCheck
from ansible_collections.mlops.platform.plugins.module_utils.component import build

# As modules: the registry itself is asked by means of checks.
from ansible_collections.mlops.platform.plugins.module_utils.models import predict, registry

REPEATS = 5
"""Requests whose median is the latency that is told."""
CONNECTIONS = 8
"""Connections that are kept for requests side by side."""
_known: dict[tuple[str, str, str], predict.Reference] = {}
"""What this process has had predicted already, by model, version and file of rows: a version never changes."""


@dataclass(frozen=True)
class InferenceCheck(Check):
    """POST the held-out rows of a version to its endpoint (V2); every prediction is the model's own.

    `service` leads to the model inside the cluster under the name `host`. `edge` describes the way from outside as a
    check of the type `edge` does, empty where there is none. `mlflow` is the registry {service, credentials,
    artifact_root}; `rows` a file with other rows than those logged with the model.
    """

    service: Service
    host: str
    model: str
    endpoint: str
    version: str
    mlflow: Mapping[str, Any]
    edge: Mapping[str, Any] = field(default_factory=dict)
    rows: str = ""

    @property
    def target(self) -> str:
        host = f"https://{self.edge['host']}" if self.edge else f"http://{self.host}"
        return f"{host}/v2/models/{self.endpoint}/infer"

    def run(self, access: Access) -> tuple[object, object]:
        expected = reference(access, registry.Tracking.parse(self.mlflow), self.model, self.version, self.rows)
        with self.client(access) as client:
            answer = client.infer(expected.request, min(predict.FIRST_SECONDS, max(access.left, REQUEST_SECONDS)))
            if answer.status != 200:
                said = f"POST {self.target} answered {answer.status}: {predict.shortened(answer.body)}"
                raise CheckFailed(said, answer.status, 200)
            if answer.version not in ("", self.version):
                said = f"version {answer.version} of the model answers, deployed is {self.version}"
                raise CheckFailed(said, answer.version, self.version)
            if wrong := predict.differences(expected.outputs, answer.outputs):
                said = f"the endpoint does not predict what the model itself predicts: {'; '.join(wrong)}"
                raise CheckFailed(said, predict.shortened(answer.outputs), predict.shortened(expected.outputs))
            seconds = statistics.median(client.infer(expected.request).seconds for _ in range(REPEATS))
        way = "through the edge" if self.edge else "inside the cluster"
        same = f"{expected.rows} predictions of version {self.version} as in-process ({expected.source})"
        return f"{same}, {seconds * 1000:.0f} ms {way}", same

    @contextlib.contextmanager
    def client(self, access: Access, at_once: int = CONNECTIONS) -> Iterator[predict.V2Client]:
        """A client of the endpoint: as people outside have it, or inside the cluster where there is no edge.

        It keeps `at_once` connections.
        """
        if self.edge:
            service = Service.parse(self.edge.get("service"), self.name)
            outside = build(EdgeCheck, {**self.edge, "name": self.name, "service": service}, self.name)
            # The route stands beside the Service that it leads to.
            with outside.connections(replace(access, namespace=self.service.namespace), at_once) as pool:
                yield predict.V2Client(pool, outside.host, self.endpoint)
        else:
            with urllib3.HTTPConnectionPool(*access.address(self.service), maxsize=at_once) as pool:
                yield predict.V2Client(pool, self.host, self.endpoint)


def reference(
    access: Access, tracking: registry.Tracking, model: str, version: str, rows: str, hidden: Sequence[str] = ()
) -> predict.Reference:
    """What a version predicts in a process of this machine; asked of it once a run. As `in_process`, errors too."""
    key = (model, version, rows)
    if key not in _known:
        _known[key] = predict.in_process(tracking.environment(access), model, version, rows, hidden)
    return _known[key]
