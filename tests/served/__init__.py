"""Models that are registered to see how the platform serves them, or refuses to."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow import MlflowClient
from mlflow.models import infer_signature

HERE = Path(__file__).parent
EXPERIMENT = "tests-of-serving"
ROWS = pd.DataFrame({"length": [1.0, 2.0, 3.0, 4.0], "width": [0.5, 0.25, 0.125, 0.0625]})
CLASSES = [0, 1, 1, 0]
Log = Callable[[str], object]


def tree(name: str, rows: pd.DataFrame = ROWS) -> object:
    """A version of scikit-learn."""
    from sklearn.tree import DecisionTreeClassifier

    model = DecisionTreeClassifier(random_state=0).fit(rows, CLASSES)
    trusted = ["sklearn.tree._tree.Tree"]
    signature = infer_signature(rows, model.predict(rows))
    return mlflow.sklearn.log_model(
        model, name="model", registered_model_name=name, signature=signature, input_example=rows,
        skops_trusted_types=trusted, pip_requirements=["scikit-learn", "skops"],
    )  # fmt: skip


def renamed(name: str) -> object:
    """The same with a column of another name."""
    return tree(name, ROWS.rename(columns={"width": "breadth"}))


def bare(name: str) -> object:
    """One without signature and rows."""
    from sklearn.dummy import DummyClassifier

    model = DummyClassifier().fit(ROWS, CLASSES)
    return mlflow.sklearn.log_model(
        model, name="model", registered_model_name=name, pip_requirements=["scikit-learn", "skops"]
    )


def boosted(name: str) -> object:
    """A version of XGBoost."""
    import xgboost

    model = xgboost.XGBRegressor(n_estimators=3, max_depth=2).fit(ROWS, [0.5, 1.5, 2.5, 3.5])
    signature = infer_signature(ROWS, model.predict(ROWS))
    return mlflow.xgboost.log_model(
        model, name="model", registered_model_name=name, signature=signature, input_example=ROWS
    )


def coded(file: str, *packages: str) -> Log:
    """A version whose code is a file of this folder."""

    def log(name: str) -> object:
        return mlflow.pyfunc.log_model(
            name="model", python_model=str(HERE / file), registered_model_name=name, input_example=ROWS,
            signature=infer_signature(ROWS, ROWS), pip_requirements=["pandas", *packages],
        )  # fmt: skip

    return log


@contextmanager
def registered(tracking: Mapping[str, str], name: str, *versions: Log) -> Iterator[MlflowClient]:
    """A registered model of some versions, the newest of which is the champion; it is deleted at the end.

    `tracking` are MLflow's own environment variables.
    """
    logging.getLogger("mlflow").setLevel(logging.ERROR)
    os.environ |= {**tracking, "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false"}
    mlflow.set_tracking_uri(tracking["MLFLOW_TRACKING_URI"])
    mlflow.set_experiment(EXPERIMENT)
    client = MlflowClient()
    try:
        for log in versions:
            with mlflow.start_run():
                made: Any = log(name)
            client.set_registered_model_alias(name, "champion", str(made.registered_model_version))
        yield client
    finally:
        client.delete_registered_model(name)
