"""Clients of the platform that go on while something happens to it: what they were answered, and what they were not."""

from __future__ import annotations

import base64
import contextlib
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import urllib3

PATIENCE_SECONDS = 10
PAUSE_SECONDS = 0.2


@dataclass(frozen=True)
class Answer:
    """One request: which client's, when it began (monotonic seconds), and what was wrong with it."""

    client: str
    began: float
    seconds: float
    wrong: str


@dataclass
class Edge:
    """The platform's edge at a port of a machine; `authority` is the file with its authority."""

    address: str
    port: int
    authority: str
    domain: str = "mlops.internal"
    pools: dict[str, urllib3.HTTPSConnectionPool] = field(default_factory=dict)

    def ask(self, host: str, path: str, body: object, **headers: str) -> Any:
        """What a host answers to a POST by a connection that is kept. Raises AssertionError for all but 200."""
        answer = self._pool(host).request(
            "POST", path, json=body, headers={"Host": f"{host}.{self.domain}", **headers}, timeout=PATIENCE_SECONDS
        )
        assert answer.status == 200, f"HTTP {answer.status}: {answer.data[:200]!r}"
        return answer.json()

    def _pool(self, host: str) -> urllib3.HTTPSConnectionPool:
        name = f"{host}.{self.domain}"
        if host not in self.pools:
            self.pools[host] = urllib3.HTTPSConnectionPool(
                self.address, self.port, server_hostname=name, assert_hostname=name, ca_certs=self.authority,
                retries=False,
            )  # fmt: skip
        return self.pools[host]


@dataclass
class Runs:
    """A client of MLflow that logs runs; `logged` are those whose every step was acknowledged, with their numbers."""

    edge: Edge
    login: dict[str, str]
    experiment: str
    logged: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, edge: Edge, login: dict[str, str], name: str) -> Runs:
        """A client with an experiment of its own, whose name begins with one that is given."""
        made = cls(edge, login, "")
        answer = made._api("experiments/create", {"name": f"{name}-{time.time()}"})
        return replace(made, experiment=answer["experiment_id"])

    def log(self) -> None:
        """Log one run with a metric and end it. Raises what a request raises."""
        number, now = time.time(), int(time.time() * 1000)
        run = self._api("runs/create", {"experiment_id": self.experiment, "start_time": now})["run"]["info"]["run_id"]
        metric = {"key": "number", "value": number, "timestamp": now, "step": 0}
        self._api("runs/log-batch", {"run_id": run, "metrics": [metric]})
        self._api("runs/update", {"run_id": run, "status": "FINISHED", "end_time": now})
        self.logged[run] = number

    def lost(self) -> list[str]:
        """The logged runs that MLflow does not have as they were acknowledged."""
        found: dict[str, float] = {}
        token = ""
        while True:
            question = {"experiment_ids": [self.experiment], "max_results": 1000, "page_token": token}
            answer = self._api("runs/search", question)
            for run in answer.get("runs", []):
                if run["info"]["status"] == "FINISHED":
                    found[run["info"]["run_id"]] = run["data"]["metrics"][0]["value"]
            if not (token := answer.get("next_page_token", "")):
                return [run for run, number in self.logged.items() if found.get(run) != number]

    def _api(self, path: str, body: object) -> Any:
        credentials = f"{self.login['username']}:{self.login['password']}".encode()
        token = base64.b64encode(credentials).decode()
        return self.edge.ask("mlflow", f"/api/2.0/mlflow/{path}", body, Authorization=f"Basic {token}")


@dataclass
class Going:
    """Clients that go on, each in a thread of its own, and their answers so far."""

    answers: list[Answer] = field(default_factory=list)

    def failed(self, since: float = 0.0, until: float = float("inf")) -> Counter[str]:
        """How many requests of each client failed that began in a time."""
        return Counter(item.client for item in self.answers if item.wrong and since <= item.began < until)

    def served(self, since: float = 0.0) -> Counter[str]:
        """How many requests of each client were answered that began after a moment."""
        return Counter(item.client for item in self.answers if not item.wrong and item.began >= since)

    def well_since(self) -> float:
        """The moment after which no request failed."""
        return max((item.began + item.seconds for item in self.answers if item.wrong), default=0.0)

    def said(self) -> str:
        """The failures as people read them."""
        counts = Counter((item.client, item.wrong) for item in self.answers if item.wrong)
        return "\n".join(f"{count} x {client}: {wrong}" for (client, wrong), count in counts.most_common())


@contextlib.contextmanager
def going(**clients: Callable[[], object]) -> Iterator[Going]:
    """Have each client ask again and again, with a short pause in between, until the context ends."""
    found, ended = Going(), threading.Event()

    def again(name: str, ask: Callable[[], object]) -> None:
        while not ended.wait(PAUSE_SECONDS):
            began, wrong = time.monotonic(), ""
            try:
                ask()
            except (AssertionError, urllib3.exceptions.HTTPError, OSError, KeyError, json.JSONDecodeError) as error:
                wrong = f"{type(error).__name__}: {error}"[:300]
            found.answers.append(Answer(name, began, time.monotonic() - began, wrong))

    threads = [threading.Thread(target=again, args=item, daemon=True) for item in clients.items()]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join(PATIENCE_SECONDS * 4)
