# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A program: what a version of a registered model itself predicts, as V2 request and outputs.

`reference.py <model> <version> <folder> <file with rows or ""> [<package>...]` downloads the version through MLflow
(MLFLOW_TRACKING_URI and its login in the environment) into the folder, predicts its rows and writes reference.json
there. It does without the packages that are named: they are those that the model's server lacks. A process of its own:
what a model imports, prints or breaks stays in it.
"""

from __future__ import annotations

import json
import logging
import math
import re
import sys
from collections.abc import Collection
from importlib.abc import MetaPathFinder
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

HELD_OUT = "held_out.json"
"""The artifact in which a training run may keep its held-out rows: {"rows": {"columns": [...], "data": [[...]]}}.

What is right for each of them may stand beside them: {"labels": [...]}.
"""
LABEL = "label"
"""The column of a file's rows that says what is right for each, unless it is an input of the model."""
KINDS = {"b": "BOOL", "i": "INT", "u": "UINT", "f": "FP"}
"""The datatypes of the V2 protocol by NumPy's kinds of numbers; all but BOOL end with their number of bits."""


class Hidden(MetaPathFinder):
    """Lets nobody find the modules of some packages, as on a machine that does not have them.

    `modules` are the names of those modules, with the packages that they are of.
    """

    def __init__(self, packages: Collection[str]) -> None:
        installed = packages_distributions() if packages else {}
        self.modules = {name.replace("-", "_"): name for name in packages} | {
            module: normalized(owners[0])
            for module, owners in installed.items()
            if set(map(normalized, owners)) <= set(packages)
        }

    def find_spec(self, fullname: str, *_: object) -> None:
        """Say of a hidden module that it is not there; whoever can do without it goes on."""
        if fullname.partition(".")[0] in self.modules:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def normalized(package: str) -> str:
    """The one spelling of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


def main(arguments: list[str]) -> None:
    """Write reference.json, with what is predicted or with the problem that kept the model from it."""
    name, version, folder, rows_file, *packages = arguments
    hidden = Hidden(packages)
    for module in [known for known in sys.modules if known.partition(".")[0] in hidden.modules]:
        del sys.modules[module]
    sys.meta_path.insert(0, hidden)
    logging.disable(logging.WARNING)
    try:
        found = reference(name, version, Path(folder), rows_file)
    except ModuleNotFoundError as error:
        found = {"problem": missing(str(error.name), hidden)}
    except Exception as error:  # noqa: BLE001  (whatever a model raises is what it says)
        found = {"problem": " ".join(f"{type(error).__name__}: {error}".split())}
    (Path(folder) / "reference.json").write_text(json.dumps(found), encoding="utf-8")


def missing(module: str, hidden: Hidden) -> str:
    """What to do about a module that a model needs and that is not there."""
    name = module.partition(".")[0]
    if package := hidden.modules.get(name):
        return (
            f"it needs the Python package {package}, which the model server does not have: add it to "
            "images/model-server/requirements.in and run `make images`, or name a runtime of your own (runtime)"
        )
    return f"it needs the Python package {name}, which this machine does not have: install it beside Ansible"


def reference(name: str, version: str, folder: Path, rows_file: str) -> dict[str, Any]:
    """The reference as JSON has it; {"problem": ...} where the model has no rows."""
    model = mlflow.pyfunc.load_model(f"models:/{name}/{version}", dst_path=str(folder))
    rows, labels, source = find_rows(model, folder, rows_file)
    if rows is None:
        problem = "no rows to compare predictions with: log the model with an input example, or give a file (rows)"
        return {"problem": problem}
    predicted = outputs(model.predict(rows))
    return {"request": request(rows), "outputs": predicted, "rows": len(rows), "labels": labels, "source": source}


def find_rows(model: Any, folder: Path, rows_file: str) -> tuple[Any, list[Any], str]:
    """The rows to predict, their labels if they have any, and where they are from; (None, [], "") for no rows."""
    if rows_file:
        rows, labels = read_rows(Path(rows_file))
        signature = model.metadata.get_input_schema()
        inputs = signature.input_names() if signature else []
        if isinstance(rows, pd.DataFrame) and LABEL in rows and LABEL not in inputs:
            labels = rows.pop(LABEL).tolist()
        return rows, labels, rows_file
    run = model.metadata.run_id
    if run:
        try:
            path = MlflowClient().download_artifacts(run, HELD_OUT, str(folder))
            content = json.loads(Path(path).read_text(encoding="utf-8"))
        except (MlflowException, OSError):
            content = {}  # most runs keep none
        if kept := content.get("rows"):
            rows = pd.DataFrame(kept["data"], columns=kept["columns"])
            return rows, content.get("labels", []), f"{HELD_OUT} of the run"
    example = model.input_example
    return (None, [], "") if example is None else (example, [], "the input example")


def read_rows(path: Path) -> tuple[Any, list[Any]]:
    """The rows of a file, and the labels that stand beside them.

    CSV with a line of names, a V2 request, or JSON as pandas writes it, split or as records.
    """
    if path.suffix == ".csv":
        return pd.read_csv(path), []
    content, labels = json.loads(path.read_text(encoding="utf-8")), []
    if isinstance(content, dict) and "inputs" in content:
        return asked(content), []
    if isinstance(content, dict):
        content, labels = content.get("rows", content), content.get("labels", [])
    if isinstance(content, dict):
        return pd.DataFrame(content["data"], columns=content["columns"]), labels
    rows = pd.DataFrame(content) if content and isinstance(content[0], dict) else np.asarray(content)
    return rows, labels


def request(rows: Any) -> dict[str, Any]:
    """The V2 request of some rows: an input a column for what has columns, else one input.

    The content types are those of MLServer: without them it would have to guess.
    """
    if isinstance(rows, pd.DataFrame):
        columns = [tensor(str(name), rows[name].to_numpy(), (len(rows), 1)) for name in rows.columns]
        return {"parameters": {"content_type": "pd"}, "inputs": columns}
    if isinstance(rows, dict):
        parts = [tensor(name, np.asarray(values)) for name, values in rows.items()]
        return {"parameters": {"content_type": "dict"}, "inputs": parts}
    return {"parameters": {"content_type": "np"}, "inputs": [tensor("input-0", np.asarray(rows))]}


def asked(sent: dict[str, Any]) -> Any:
    """The rows of a V2 request that `request` made."""
    arrays = {item["name"]: array_of(item) for item in sent["inputs"]}
    kind = sent["parameters"]["content_type"]
    if kind == "pd":
        return pd.DataFrame({name: values.ravel() for name, values in arrays.items()})
    return arrays if kind == "dict" else next(iter(arrays.values()))


def array_of(item: dict[str, Any]) -> Any:
    """The array that `tensor` wrote."""
    name = item["datatype"].rstrip("0123456789")
    kinds = {word: kind for kind, word in KINDS.items()}
    bits = item["datatype"].removeprefix(name)
    dtype = np.dtype(f"{kinds[name]}{int(bits) // 8 if bits else 1}") if name in kinds else np.dtype(object)
    return np.asarray(item["data"], dtype=dtype).reshape(item["shape"])


def outputs(predicted: Any) -> list[dict[str, Any]]:
    """What a model predicted, as V2 outputs: an output a column for what has columns, else one output."""
    if isinstance(predicted, pd.DataFrame):
        return [tensor(str(name), predicted[name].to_numpy()) for name in predicted.columns]
    if isinstance(predicted, dict):
        return [tensor(name, np.asarray(values)) for name, values in predicted.items()]
    return [tensor("output-1", np.asarray(predicted))]


def tensor(name: str, values: Any, shape: tuple[int, ...] | None = None) -> dict[str, Any]:
    """An array as the V2 protocol writes it: its shape, its datatype, its values one after the other."""
    array = np.asarray(values)
    found: dict[str, Any] = {"name": name, "shape": list(shape or array.shape)}
    if array.dtype.kind not in KINDS:
        texts = [None if value is None else str(value) for value in array.ravel().tolist()]
        return {**found, "datatype": "BYTES", "data": texts, "parameters": {"content_type": "str"}}
    bits = "" if array.dtype.kind == "b" else str(array.dtype.itemsize * 8)
    data = [None if isinstance(value, float) and math.isnan(value) else value for value in array.ravel().tolist()]
    return {**found, "datatype": f"{KINDS[array.dtype.kind]}{bits}", "data": data}


if __name__ == "__main__":
    main(sys.argv[1:])
