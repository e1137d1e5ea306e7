"""What models of a real registry predict in a process of their own: rows, kinds of inputs, packages, crashes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models import predict, reference
from mlflow.models import infer_signature
from mlflow.pyfunc.model import PythonModel
from sklearn.tree import DecisionTreeClassifier

ROWS = pd.DataFrame({"length": [1.0, 2.0, 3.0], "width": [0.5, 0.25, 0.125]})


class Doubled(PythonModel):
    """Answers with columns, one of which is text."""

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Twice the first column."""
        return pd.DataFrame({"twice": np.asarray(model_input)[:, 0] * 2, "word": ["a"] * len(model_input)})


class Broken(PythonModel):
    """Does not load."""

    def load_context(self, context: Any) -> None:
        """Miss something."""
        raise RuntimeError("no weights are here")

    def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
        """Never asked for."""
        return model_input


@pytest.fixture(scope="module")
def tracking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A registry in a folder with four models of one version each."""
    environment = {
        "MLFLOW_TRACKING_URI": (tmp_path_factory.mktemp("mlflow") / "store").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",  # a database would take seconds to be made
    }
    patch = pytest.MonkeyPatch()
    for name, value in environment.items():
        patch.setenv(name, value)
    tree = DecisionTreeClassifier(random_state=0).fit(ROWS, [0, 1, 1])
    logged: dict[str, Any] = {
        "signature": infer_signature(ROWS, tree.predict(ROWS)),
        "skops_trusted_types": ["sklearn.tree._tree.Tree"],
        "pip_requirements": ["scikit-learn"],
    }
    with mlflow.start_run():
        rows = {"columns": list(ROWS.columns), "data": ROWS.iloc[:2].to_numpy().tolist()}
        mlflow.log_dict({"rows": rows, "labels": [0, 2]}, "held_out.json")
        mlflow.sklearn.log_model(tree, name="tree", registered_model_name="tree", **logged)
    with mlflow.start_run():
        mlflow.sklearn.log_model(tree, name="bare", registered_model_name="bare", **logged)
        plain: dict[str, Any] = {"pip_requirements": ["numpy"], "signature": infer_signature(np.array([[1.0]]))}
        mlflow.pyfunc.log_model(name="broken", python_model=Broken(), registered_model_name="broken", **plain)
        mlflow.pyfunc.log_model(
            name="doubled", python_model=Doubled(), registered_model_name="doubled",
            input_example=np.array([[1.0], [2.0]]), **plain,
        )  # fmt: skip
    yield environment
    patch.undo()


def predicted(name: str, folder: Path, rows: str = "") -> dict[str, Any]:
    """What the program writes for version 1 of a model."""
    reference.main([name, "1", str(folder), rows])
    found: dict[str, Any] = json.loads((folder / "reference.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.usefixtures("tracking")
def test_the_rows_that_a_run_held_out_are_predicted(tmp_path: Path) -> None:
    found = predicted("tree", tmp_path)
    assert (found["rows"], found["labels"], found["source"]) == (2, [0, 2], "held_out.json of the run")
    assert found["request"]["parameters"] == {"content_type": "pd"}
    length = {"name": "length", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.0]}
    assert found["request"]["inputs"][0] == length
    assert found["outputs"] == [{"name": "output-1", "shape": [2], "datatype": "INT64", "data": [0, 1]}]


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize(
    ("name", "content", "labels"),
    [
        ("rows.csv", "length,width\n1.0,0.5\n3.0,0.125\n", []),
        ("rows.csv", "length,label,width\n1.0,a,0.5\n3.0,b,0.125\n", ["a", "b"]),
        ("rows.json", json.dumps([{"length": 1.0, "width": 0.5}, {"length": 3.0, "width": 0.125}]), []),
        ("rows.json", json.dumps({"columns": ["length", "width"], "data": [[1.0, 0.5], [3.0, 0.125]]}), []),
        (
            "rows.json",
            json.dumps({"rows": [{"length": 1.0, "width": 0.5}, {"length": 3.0, "width": 0.125}], "labels": [0, 1]}),
            [0, 1],
        ),
    ],
)
def test_the_rows_of_a_file_are_predicted(tmp_path: Path, name: str, content: str, labels: list[Any]) -> None:
    file = tmp_path / name
    file.write_text(content)
    found = predicted("bare", tmp_path, str(file))
    assert (found["rows"], found["source"], found["outputs"][0]["data"]) == (2, str(file), [0, 1])
    assert found["labels"] == labels


@pytest.mark.usefixtures("tracking")
def test_tensors_in_and_columns_out(tmp_path: Path) -> None:
    found = predicted("doubled", tmp_path)
    assert (found["source"], found["request"]["parameters"]) == ("the input example", {"content_type": "np"})
    tensor = {"name": "input-0", "shape": [2, 1], "datatype": "FP64", "data": [1.0, 2.0]}
    assert found["request"]["inputs"] == [tensor]
    assert [(item["name"], item["datatype"], item["data"]) for item in found["outputs"]] == [
        ("twice", "FP64", [2.0, 4.0]),
        ("word", "BYTES", ["a", "a"]),
    ]


@pytest.mark.usefixtures("tracking")
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("bare", "no rows to compare predictions with: log the model with an input example, or give a file (rows)"),
        ("broken", "RuntimeError: no weights are here"),
    ],
)
def test_what_keeps_a_model_from_predicting_is_told(tmp_path: Path, name: str, said: str) -> None:
    assert predicted(name, tmp_path) == {"problem": said}


def test_a_package_that_the_server_lacks_is_not_found_in_a_process_either(tracking: dict[str, str]) -> None:
    with pytest.raises(PlatformError, match="needs the Python package scikit-learn, which the model server does not"):
        predict.in_process(tracking, "tree", "1", hidden=["scikit-learn"])


def test_only_the_modules_of_hidden_packages_are_hidden() -> None:
    hidden = reference.Hidden(["scikit-learn", "not-installed"])
    assert hidden.modules == {
        "scikit_learn": "scikit-learn",
        "sklearn": "scikit-learn",
        "not_installed": "not-installed",
    }
    hidden.find_spec("numpy")
    with pytest.raises(ModuleNotFoundError):
        hidden.find_spec("sklearn.tree")
