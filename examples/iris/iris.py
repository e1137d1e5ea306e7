"""The platform's first model: scikit-learn's Iris data set, trained, logged, registered, downloaded, compared.

`iris.py train` trains a classifier, logs it with its parameters and metrics, registers it as the model `iris` and
gives the version the alias `champion`. `iris.py verify` downloads the champion and compares its predictions with those
that were logged with it. Both talk to MLflow at MLFLOW_TRACKING_URI and print one line of JSON.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import mlflow
from mlflow import MlflowClient
from mlflow.models import infer_signature
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

MODEL = "iris"
ALIAS = "champion"
SEED = 7
CODE = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]


def held_out() -> tuple[Any, Any, Any, Any]:
    """Training and test rows (120 and 30 rows of 4 features in cm) and their classes 0 to 2; always the same split."""
    features, classes = load_iris(return_X_y=True, as_frame=True)
    return tuple(train_test_split(features, classes, test_size=0.2, random_state=SEED, stratify=classes))


def champion(client: MlflowClient) -> Any | None:
    """The model version that has the alias, or None."""
    known = client.search_registered_models(f"name = '{MODEL}'")
    return client.get_model_version_by_alias(MODEL, ALIAS) if known and ALIAS in known[0].aliases else None


def train(client: MlflowClient) -> dict[str, Any]:
    """Train, log, register and alias the model, unless this very code has made the champion."""
    current = champion(client)
    if current is not None and current.tags.get("code") == CODE:
        return {"changed": False, "version": current.version, "run_id": current.run_id}
    train_rows, test_rows, train_classes, test_classes = held_out()
    settings = {"C": 1.0, "max_iter": 500, "random_state": SEED}
    mlflow.set_experiment(MODEL)
    with mlflow.start_run(run_name="iris-logistic-regression") as run:
        model = make_pipeline(StandardScaler(), LogisticRegression(**settings)).fit(train_rows, train_classes)
        predicted = model.predict(test_rows)
        mlflow.log_params({**settings, "rows": len(train_rows)})
        metrics = {
            "accuracy": float(accuracy_score(test_classes, predicted)),
            "log_loss": float(log_loss(test_classes, model.predict_proba(test_rows))),
        }
        mlflow.log_metrics(metrics)
        # What the model will be given is compared with these rows, where that is asked for (drift).
        mlflow.log_table(train_rows.assign(prediction=model.predict(train_rows)), "reference.parquet")
        rows = {"columns": test_rows.columns.tolist(), "data": test_rows.to_numpy().tolist()}
        kept = {"rows": rows, "labels": test_classes.tolist(), "predictions": predicted.tolist()}
        mlflow.log_dict(kept, "held_out.json")
        info = mlflow.sklearn.log_model(
            model,
            name="model",
            signature=infer_signature(test_rows, predicted),
            input_example=test_rows.head(3),
            registered_model_name=MODEL,
        )
    version = str(info.registered_model_version)
    client.set_model_version_tag(MODEL, version, "code", CODE)
    client.set_registered_model_alias(MODEL, ALIAS, version)
    return {"changed": True, "version": version, "run_id": run.info.run_id, **metrics}


def verify(client: MlflowClient) -> dict[str, Any]:
    """Download the champion and the predictions logged with it; both must agree on the held-out rows."""
    current = champion(client)
    if current is None:
        raise SystemExit(f"the model {MODEL} has no alias {ALIAS}: train it first")
    with tempfile.TemporaryDirectory() as folder:
        logged = json.loads(Path(client.download_artifacts(current.run_id, "held_out.json", folder)).read_text())
        model = mlflow.sklearn.load_model(f"models:/{MODEL}@{ALIAS}", dst_path=folder)
        _, rows, _, classes = held_out()
        predicted = model.predict(rows).tolist()
    if predicted != logged["predictions"]:
        raise SystemExit(f"the downloaded champion predicts {predicted}, logged were {logged['predictions']}")
    return {
        "version": current.version,
        "run_id": current.run_id,
        "rows": len(predicted),
        "accuracy": float(accuracy_score(classes, predicted)),
    }


def main() -> None:
    """Run the commands named on the command line, in their order."""
    commands = {"train": train, "verify": verify}
    names = sys.argv[1:]
    if not names or set(names) - set(commands):
        raise SystemExit(f"usage: iris.py {{{','.join(commands)}}} ...")
    client = MlflowClient()
    result: dict[str, Any] = {"model": f"models:/{MODEL}@{ALIAS}"}
    for name in names:
        result |= commands[name](client)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
