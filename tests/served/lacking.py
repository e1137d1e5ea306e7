"""A model that needs a package which the model server does not have."""

from __future__ import annotations

from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel


class Lacking(PythonModel):
    """Answers what it is asked, where it finds its package."""

    def load_context(self, context: Any) -> None:
        """Import the package."""
        __import__("boto3")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """The input."""
        return model_input


mlflow.models.set_model(Lacking())
