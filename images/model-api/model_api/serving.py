"""The model that is served: found in the registry, loaded, proven, and replaced when its alias moves."""

from __future__ import annotations

import json
import logging
import math
import shutil
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import mlflow
import numpy as np
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature

from model_api.rows import Complaint, Rows, Unfit, reader

LOG = logging.getLogger("model_api")
LONGEST_PAUSE_SECONDS = 300.0
"""A version that cannot be loaded is tried again ever more seldom, up to this pause."""
REASON_LENGTH = 600


def now() -> str:
    """The time in UTC, RFC 3339."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Version:
    """What a URI of a model leads to: a version of the registry, or (`number` is None) the URI itself."""

    name: str
    number: str | None
    alias: str | None
    run_id: str | None
    uri: str

    @property
    def label(self) -> str:
        """The version as metrics and messages have it."""
        return self.number or "none"


def find(client: MlflowClient, uri: str) -> Version:
    """What `uri` leads to now. Raises what MLflow's client raises, MlflowException for an answer that says no."""
    if not uri.startswith("models:/") or "/" not in uri.removeprefix("models:/").replace("@", "/"):
        return Version(uri, None, None, None, uri)
    name, _, alias = uri.removeprefix("models:/").rpartition("@")
    if name:
        found = client.get_model_version_by_alias(name, alias)
    else:
        name, _, number = uri.removeprefix("models:/").rpartition("/")
        found = client.get_model_version(name, number)
    return Version(name, str(found.version), alias or None, found.run_id, f"models:/{name}/{found.version}")


@dataclass(frozen=True)
class Prediction:
    """One prediction a row, and the probability of each class where the model knows them.

    `rows` are what the model was given, `values` what it gave back, as its own types have them.
    """

    predictions: list[Any]
    probabilities: list[list[float]] | None
    rows: Any
    values: Any


class Model:
    """A version in memory. Its files are removed when nobody uses it any more."""

    def __init__(self, version: Version) -> None:
        """Download, load and try out `version`. Raises whatever a model raises that cannot be served."""
        started = time.monotonic()
        folder = tempfile.mkdtemp(prefix="model-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        self.version = version
        self._pyfunc = mlflow.pyfunc.load_model(version.uri, dst_path=folder)
        self.signature: ModelSignature | None = self._pyfunc.metadata.signature
        self.flavors = sorted(self._pyfunc.metadata.flavors or {})
        self._read = reader(self.signature)
        raw: Any = self._pyfunc.get_raw_model() if "sklearn" in self.flavors else None
        self._predict_proba: Callable[[Any], Any] | None = getattr(raw, "predict_proba", None)
        self.classes: list[Any] | None = _plain(raw.classes_) if self._predict_proba else None
        self._try_out()
        self.loaded_at = now()
        self.load_seconds = time.monotonic() - started

    def predict(self, rows: Rows) -> Prediction:
        """The predictions of rows of values, in the order of the signature's columns. Raises Unfit."""
        data = self._read(rows)
        try:
            values = self._pyfunc.predict(data)
        except (ValueError, TypeError, MlflowException) as error:
            # MLflow refuses what does not fit the signature; a model without one refuses in its own words.
            if self.signature and not isinstance(error, MlflowException):
                raise
            raise Unfit([Complaint("features", " ".join(str(error).split())[:REASON_LENGTH])]) from error
        probabilities = _plain(self._predict_proba(data)) if self._predict_proba else None
        return Prediction(_plain(values), probabilities, data, values)

    def described(self) -> dict[str, Any]:
        """The model for people and programs, as /model/info has it."""
        columns = self.signature.to_dict() if self.signature else {}
        return {
            "name": self.version.name,
            "version": self.version.number,
            "alias": self.version.alias,
            "run_id": self.version.run_id,
            "flavors": self.flavors,
            "classes": self.classes,
            "probabilities": self._predict_proba is not None,
            "inputs": json.loads(columns.get("inputs") or "null"),
            "outputs": json.loads(columns.get("outputs") or "null"),
            "loaded_at": self.loaded_at,
            "load_seconds": round(self.load_seconds, 3),
        }

    def _try_out(self) -> None:
        """Predict the example that was logged with the model, so that the first client does not find out or wait."""
        example = self._pyfunc.input_example
        if example is not None:
            self._pyfunc.predict(example)
            if self._predict_proba:
                self._predict_proba(example)


@dataclass
class Failure:
    """Why the version that is asked for is not served: since when, and how often it was tried."""

    version: str | None
    reason: str
    since: str = field(default_factory=now)
    attempts: int = 1

    def described(self) -> dict[str, Any]:
        """The failure as /model/info has it."""
        return {"version": self.version, "reason": self.reason, "since": self.since, "attempts": self.attempts}


class Serving:
    """Keeps the model that `uri` leads to; a new one takes the old one's place when it is loaded, and not before.

    `changed` is told of every attempt to load a model: True where it is served now, False where it failed.
    """

    def __init__(self, uri: str, poll_seconds: float, changed: Callable[[bool], None] = lambda _: None) -> None:
        self.uri = uri
        self.model: Model | None = None
        self.failure: Failure | None = None
        self._poll_seconds = poll_seconds
        self._changed = changed
        self._client = MlflowClient()
        self._stopped = threading.Event()
        self._not_before = 0.0

    @property
    def reason(self) -> str:
        """Why there is no model to serve; empty where there is one."""
        if self.model:
            return ""
        return self.failure.reason if self.failure else f"{self.uri} is being loaded"

    def follow(self) -> None:
        """Look where the URI leads, now and every `poll_seconds`, until `stop`."""
        while True:
            self.refresh()
            if self._stopped.wait(self._poll_seconds):
                return

    def stop(self) -> None:
        """End `follow` after what it does now."""
        self._stopped.set()

    def refresh(self) -> None:
        """Load what the URI leads to, unless it is served already; a failure is noted and the old model goes on."""
        wanted: Version | None = None
        try:
            wanted = find(self._client, self.uri)
            if self.model and self.model.version == wanted:
                self.failure = None
                return
            if self.failure and self.failure.version == wanted.label and time.monotonic() < self._not_before:
                return
            model = Model(wanted)
        except Exception as error:  # noqa: BLE001  (whatever a model or a client library raises: the old model goes on)
            self._fail(wanted, error)
            return
        self.model, self.failure = model, None
        LOG.info("serving %s version %s, loaded in %.1f s", wanted.name, wanted.label, model.load_seconds)
        self._changed(True)

    def _fail(self, wanted: Version | None, error: Exception) -> None:
        version = wanted.label if wanted else None
        what = f"{wanted.name} version {version}" if wanted else self.uri
        words = " ".join(str(error).split())[:REASON_LENGTH] or type(error).__name__
        reason = f"{what} cannot be {'loaded' if wanted else 'found'}: {words}"
        if self.failure and (self.failure.version, self.failure.reason) == (version, reason):
            self.failure.attempts += 1
        else:
            self.failure = Failure(version, reason)
        pause = self._poll_seconds * 2 ** min(self.failure.attempts - 1, 10)
        self._not_before = time.monotonic() + min(pause, LONGEST_PAUSE_SECONDS)
        served = f"; version {self.model.version.label} goes on" if self.model else ""
        LOG.error("error: %s%s", reason, served)
        self._changed(False)


def _plain(values: Any) -> list[Any]:
    """What a model gives back, as JSON can hold it: what is not a number becomes null."""

    def finite(value: Any) -> Any:
        if isinstance(value, list):
            return [finite(item) for item in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    plain: list[Any] = finite(np.atleast_1d(np.asarray(values)).tolist())
    return plain
