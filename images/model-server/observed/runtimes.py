"""MLServer's runtimes, observed: MLSERVER_MODEL_IMPLEMENTATION is `observed.runtimes.MLflow` or `...SKLearn`."""

from __future__ import annotations

import logging
import os
import re
import time
from functools import wraps
from typing import Any

from fastapi import Request
from mlflow.exceptions import MlflowException
from mlserver.errors import InferenceError, MLServerError
from mlserver.handlers import custom_handler
from mlserver.model import MLModel
from mlserver.types import InferenceRequest, InferenceResponse
from mlserver_mlflow import MLflowRuntime
from mlserver_sklearn import SKLearnModel
from prometheus_client import REGISTRY

from observed.inputs import InputLog, Place
from observed.metrics import ModelMetrics

LOG = logging.getLogger("mlserver.observed")
VERSION = re.compile(r"[0-9]{1,9}")
MOST_AT_ONCE = 1_000_000
"""Predictions that one request of feedback may be about."""
METRICS = ModelMetrics(REGISTRY)


class Observed(MLModel):  # type: ignore[misc]
    """What both runtimes have in common. It stands before the one that predicts."""

    _log: InputLog | None = None

    async def load(self) -> bool:
        """Load the model; from then on its predictions are counted, and logged where that is asked for."""
        loaded: bool = await super().load()
        place = Place.read(os.environ)
        if place:
            self._log = InputLog(place, self.name, self.version or "", REGISTRY)
            self._log.at_end()
        self._observe()
        return loaded

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Predict as the runtime does. What does not fit the model's signature is the sender's fault: 400, not 500."""
        started, status = time.perf_counter(), 500
        try:
            answer = await super().predict(payload)
            status = 200
            return answer
        except MLServerError as error:
            status = error.status_code
            raise
        except MlflowException as error:
            refusal = InferenceError(error.message)
            status = refusal.status_code
            raise refusal from error
        finally:
            METRICS.answered(self.name, self.version or "", status, time.perf_counter() - started)

    def decode_request(self, inference_request: InferenceRequest, default_codec: Any = None) -> Any:
        """Read the rows of a request; what cannot be read is the sender's fault, too."""
        try:
            return super().decode_request(inference_request, default_codec)
        except (ValueError, TypeError, KeyError) as error:
            raise InferenceError(f"the request cannot be read: {error}") from error

    @custom_handler(rest_path="/v2/models/{model_name}/feedback")  # type: ignore[untyped-decorator]
    async def feedback(self, model_name: str, request: Request) -> dict[str, str]:
        """Take what a client knows of predictions by now: {"model_version": "3", "good": 17, "bad": 2}."""
        try:
            told = await request.json()
        except ValueError:
            told = None
        told = told if isinstance(told, dict) else {}
        version, good, bad = (told.get(key, -1) for key in ("model_version", "good", "bad"))
        counts = all(type(count) is int and 0 <= count <= MOST_AT_ONCE for count in (good, bad))
        if model_name != self.name or not VERSION.fullmatch(str(version)) or not counts:
            raise InferenceError(
                f'feedback on {self.name} is {{"model_version": "<number>", "good": <n>, "bad": <n>}}, '
                f"with n from 0 to {MOST_AT_ONCE}"
            )
        if not METRICS.fed_back(self.name, str(version), good, bad):
            raise InferenceError("feedback on too many versions: this server takes no further one")
        return {"model_version": str(version)}

    def _observe(self) -> None:
        """Look at what the loaded model is given and gives back, whichever way it is asked."""
        predict, signature = self._model.predict, getattr(self, "_signature", None)
        inputs = signature.inputs if signature else None
        features = tuple(map(str, inputs.input_names())) if inputs and inputs.has_input_names() else ()

        @wraps(predict)
        def observed(rows: Any, *arguments: Any, **named: Any) -> Any:
            predictions = predict(rows, *arguments, **named)
            try:
                METRICS.predicted(self.name, self.version or "", rows, predictions, features)
                if self._log:
                    self._log.add(rows, predictions)
            except Exception:  # rows of a shape that nobody has thought of are answered all the same
                LOG.exception("rows of %s could not be counted", self.name)
            return predictions

        self._model.predict = observed


class MLflow(Observed, MLflowRuntime):  # type: ignore[misc]
    """Models of MLflow, as Python functions."""


class SKLearn(Observed, SKLearnModel):  # type: ignore[misc]
    """Models of scikit-learn, as joblib writes them."""
