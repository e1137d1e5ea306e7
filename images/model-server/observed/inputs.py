"""The log of a model's rows and predictions: Parquet files in S3, written beside the predictions and never before them.

A file is `<uri>/<model>/<version>/<date>/<time>-<process>-<number>.parquet`, a row of it one that was predicted: its
features by their names, `_time` (UTC) and `_prediction` (`_prediction.<name>` where there are several).
`<uri>/<model>/<version>/model.json` says what is logged, from the start on.
"""

from __future__ import annotations

import atexit
import json
import logging
import os
import random
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from prometheus_client import CollectorRegistry, Counter

from observed.metrics import columns, numbers

LOG = logging.getLogger("mlserver.observed")
PREFIX = "MODEL_LOG_"
MOST_VALUES = 2_000_000
"""Values that may wait to be written, some 16 MiB; rows that come while so many wait are dropped and counted."""
SOON_VALUES = MOST_VALUES // 4
"""So many are written without waiting for the time."""
CONNECT_SECONDS, REQUEST_SECONDS = 3.0, 5.0
"""A process that ends waits for a request that is under way, too."""
LAST_SECONDS = 8.0
"""For what is left at the end: a pod that is told to go has 30 s by Kubernetes' own default."""
TIME, PREDICTION = "_time", "_prediction"


@dataclass(frozen=True)
class Place:
    """Where and how much is logged, by the variables MODEL_LOG_<FIELD> of the environment.

    `uri` is s3://<bucket>/<prefix>, the login may write there and needs nothing else. `percent` of the requests are
    logged; what was logged for `seconds` becomes a file. `run_id` and `reference` (an S3 URI) are handed on to whoever
    compares. `authorities` are the certificates (PEM) to trust in place of the public ones.
    """

    uri: str
    endpoint_url: str = ""
    access_key: str = ""
    secret_key: str = ""
    region: str = "us-east-1"
    authorities: str = ""
    percent: float = 100.0
    seconds: float = 60.0
    run_id: str = ""
    reference: str = ""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Place | None:
        """That of an environment; None where nothing is to be logged. Raises ValueError for what is no number."""
        given = {item.name: environment.get(PREFIX + item.name.upper(), "") for item in fields(cls)}
        found: dict[str, Any] = {key: value for key, value in given.items() if value}
        found |= {name: float(found[name]) for name in ("percent", "seconds") if name in found}
        return cls(**found) if given["uri"] else None

    def files(self) -> Any:
        """The file system of the bucket; a file is one request, and more for a large one."""
        from pyarrow import fs

        parts = urlsplit(self.endpoint_url)
        trusted = None
        if self.authorities:
            with tempfile.NamedTemporaryFile("w", suffix=".pem", delete=False) as file:
                file.write(self.authorities)
            trusted = file.name
        made: Any = fs.S3FileSystem(
            access_key=self.access_key, secret_key=self.secret_key, region=self.region, scheme=parts.scheme or "https",
            endpoint_override=parts.netloc or None, tls_ca_file_path=trusted,
            connect_timeout=CONNECT_SECONDS, request_timeout=REQUEST_SECONDS, background_writes=False,
            allow_delayed_open=True, check_directory_existence_before_creation=False,
            retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=1),
        )  # fmt: skip
        return fs.SubTreeFileSystem(self.uri.removeprefix("s3://").strip("/"), made)


@dataclass(frozen=True)
class _Batch:
    """The rows of one request, and when it was answered (seconds since 1970)."""

    moment: float
    rows: Any
    predictions: Any
    length: int
    values: int

    def answers(self) -> dict[str, np.ndarray]:
        """The predictions by the names of their columns in the log."""
        found = {name: values for name, values in columns(self.predictions).items() if len(values) == self.length}
        return {PREDICTION if len(found) == 1 else f"{PREDICTION}.{name}": values for name, values in found.items()}


class InputLog:
    """Takes rows, and writes them from a thread of its own. Nothing that goes wrong there reaches a prediction."""

    def __init__(self, place: Place, model: str, version: str, registry: CollectorRegistry) -> None:
        self._place, self._model, self._version = place, model, version
        self._folder = f"{model}/{version or 'none'}"
        self._waiting: deque[_Batch] = deque()
        self._values = 0
        self._lock = threading.Lock()
        self._due = threading.Event()
        self._over = threading.Event()
        self._failure = ""
        self._announced = False
        self._number = 0
        counter = Counter(
            "model_log_rows", "Rows for the log of inputs, by what became of them.",
            ["model", "model_version", "result"], registry=registry,
        )  # fmt: skip
        self._counts = {result: counter.labels(model, version, result) for result in ("written", "dropped", "failed")}
        self._thread = threading.Thread(target=self._run, name="input-log", daemon=True)
        self._thread.start()

    def add(self, rows: Any, predictions: Any) -> None:
        """Log the rows of a request, or its share of them; returns at once."""
        if self._place.percent < 100 and random.random() * 100 >= self._place.percent:  # noqa: S311  (a sample)
            return
        parts = list(rows.values()) if isinstance(rows, dict) else [rows]
        length, values = len(parts[0]), sum(int(np.size(part)) for part in parts)
        with self._lock:
            if self._values + values > MOST_VALUES or self._over.is_set():
                self._counts["dropped"].inc(length)
                return
            self._waiting.append(_Batch(time.time(), rows, predictions, length, values))
            self._values += values
            if self._values > SOON_VALUES:
                self._due.set()

    def close(self, seconds: float = LAST_SECONDS) -> None:
        """Write what waits, for so long at most; nothing is taken any more."""
        self._over.set()
        self._due.set()
        self._thread.join(seconds)

    def at_end(self) -> None:
        """Close when the process is told to end, before whoever was told so until now."""
        atexit.register(self.close)

    def _run(self) -> None:
        files: Any = None
        while True:
            over = self._over.is_set()
            try:
                files = files or self._place.files()
                if not self._announced:
                    self._announce(files)
                self._write(files)
                self._say("")
            except Exception as error:  # noqa: BLE001  (whatever a bucket says: predictions go on)
                self._say(" ".join(f"{type(error).__name__}: {error}".split())[:300])
                if over:
                    self._give_up()
            if over:
                return
            self._due.wait(self._place.seconds if self._announced or self._place.seconds < 10 else 10)
            self._due.clear()

    def _announce(self, files: Any) -> None:
        """Say what is logged here, and find out early whether it can be."""
        about = {
            "model": self._model, "version": self._version, "run_id": self._place.run_id,
            "reference": self._place.reference, "percent": self._place.percent, "started": _text(time.time()),
        }  # fmt: skip
        self._put(files, f"{self._folder}/model.json", json.dumps(about).encode())
        self._announced = True

    def _write(self, files: Any) -> None:
        """Write what waits as one file; it waits on where that fails, as far as there is room."""
        with self._lock:
            batches = list(self._waiting)
        if not batches:
            return
        try:
            content = _parquet(batches)
        except (ValueError, TypeError):  # rows that are no table: the same would happen again and again
            self._taken(len(batches), "failed")
            raise
        self._number += 1
        now = datetime.now(UTC)
        name = f"{now:%Y-%m-%d/%H%M%S}-{os.uname().nodename}-{os.getpid()}-{self._number}.parquet"
        self._put(files, f"{self._folder}/{name}", content)
        self._taken(len(batches), "written")

    def _give_up(self) -> None:
        with self._lock:
            number = len(self._waiting)
        self._taken(number, "failed")

    def _taken(self, number: int, result: str) -> None:
        """The first batches that wait are done with."""
        with self._lock:
            done = [self._waiting.popleft() for _ in range(number)]
            self._values -= sum(batch.values for batch in done)
        self._counts[result].inc(sum(batch.length for batch in done))

    @staticmethod
    def _put(files: Any, path: str, content: bytes) -> None:
        with files.open_output_stream(path) as stream:
            stream.write(content)

    def _say(self, failure: str) -> None:
        """One line in the log when it begins to fail, for another reason, and when it goes on."""
        if failure and failure != self._failure:
            LOG.error("rows cannot be logged to %s: %s", self._place.uri, failure)
        elif self._failure and not failure:
            LOG.info("rows are logged to %s again", self._place.uri)
        self._failure = failure


def _text(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def _parquet(batches: list[_Batch]) -> bytes:
    """The rows of some requests as one file; a column that one of them lacks is null there."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = pd.concat(_tables(batches), ignore_index=True).sort_values(TIME, kind="stable")
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pandas(rows, preserve_index=False), sink, compression="zstd")
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _tables(batches: list[_Batch]) -> list[Any]:
    """The rows of some requests with their predictions and times: a table for all with the same columns of numbers.

    Most requests have one row: a table for each would cost as much as the prediction.
    """
    import pandas as pd

    alike: dict[tuple[tuple[str, ...], ...], list[tuple[_Batch, Any, list[Any]]]] = {}
    for number, batch in enumerate(batches):
        names, matrix, others = numbers(batch.rows)
        answers = batch.answers()
        key = (names, tuple(answers), (str(number),) if others else ())
        alike.setdefault(key, []).append((batch, matrix, list(answers.values())))
    tables = []
    for (names, told, alone), found in alike.items():
        if alone:
            table = pd.DataFrame(columns(found[0][0].rows))
        elif names:
            table = pd.DataFrame(np.concatenate([matrix for _, matrix, _ in found]), columns=list(names))
        else:  # images, say: their predictions alone
            table = pd.DataFrame(index=range(sum(batch.length for batch, _, _ in found)))
        for place, name in enumerate(told):
            table[name] = np.concatenate([answers[place] for _, _, answers in found])
        moments = np.repeat([batch.moment for batch, _, _ in found], [batch.length for batch, _, _ in found])
        table[TIME] = pd.to_datetime(moments, unit="s", utc=True)
        tables.append(table)
    return tables
