"""A model that loads anywhere but in a cluster."""

from __future__ import annotations

import os
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel


class Crashes(PythonModel):
    """Answers what it is asked, where it loads."""

    def load_context(self, context: Any) -> None:
        """Find no weights in a pod."""
        if "KUBERNETES_SERVICE_HOST" in os.environ:
            raise RuntimeError("no weights are here")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """The input."""
        return model_input


mlflow.models.set_model(Crashes())
