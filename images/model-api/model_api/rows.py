"""The rows of a request as a model's signature describes them: typed columns, or a complaint that names the field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec

COMPLAINTS = 10
"""How many fields one answer complains of: the first ones tell what is wrong."""


@dataclass(frozen=True)
class Complaint:
    """A field of a request, in words that its sender knows, and what is wrong with it."""

    field: str
    message: str


class Unfit(Exception):
    """Rows that do not fit a model's signature."""

    def __init__(self, complaints: Sequence[Complaint]) -> None:
        super().__init__("; ".join(f"{item.field}: {item.message}" for item in complaints))
        self.complaints = complaints


class UnsupportedSignature(Exception):
    """A signature whose input cannot be written as rows of values."""


NUMBERS = "biuf"
"""The kinds of numpy's types that are numbers."""
Rows = Sequence[Sequence[Any]]
Read = Callable[[Rows], Any]
"""Makes of rows what a model's `predict` takes. Raises Unfit."""


def reader(signature: ModelSignature | None) -> Read:
    """How rows are read for a model with this signature. Raises UnsupportedSignature."""
    schema = signature.inputs if signature else None
    if schema is None:
        return _as_array
    if schema.is_tensor_spec():
        return _tensor_reader(schema)
    return _table_reader(schema)


def _as_array(rows: Rows) -> Any:
    """Rows of numbers alone: nobody has said what the columns are."""
    _same_length(rows, len(rows[0]))
    kinds = (bool, int, float)
    _complain(Complaint(_place(row, column), f"{_shown(value)} is not a finite number; the model has no signature")
              for row, values in enumerate(rows) for column, value in enumerate(values)
              if not isinstance(value, kinds) or not math.isfinite(value))  # fmt: skip
    return np.asarray(rows, dtype=float)


def _tensor_reader(schema: Schema) -> Read:
    spec = schema.inputs[0]
    if len(schema.inputs) != 1 or not isinstance(spec, TensorSpec) or spec.type.kind not in NUMBERS:
        raise UnsupportedSignature(f"the signature has the inputs {schema}; rows can carry one tensor of numbers")
    dtype, shape = spec.type, spec.shape

    def read(rows: Rows) -> Any:
        try:
            found: np.ndarray[Any, Any] = np.asarray(rows)
            if found.dtype.kind not in NUMBERS or not np.isfinite(found).all():
                raise ValueError("its values are not all finite numbers")
            cast: np.ndarray[Any, Any] = found.astype(dtype)
            if dtype.kind in "biu" and not np.array_equal(cast, found):
                raise ValueError(f"its values are not all {dtype}")
            if len(cast.shape) != len(shape) or any(b not in {-1, a} for a, b in zip(cast.shape, shape, strict=True)):
                raise ValueError(f"its shape is {cast.shape}")
        except ValueError as error:
            said = f"no tensor of {dtype} of the shape {shape}, as the model's signature says: {error}"
            raise Unfit([Complaint("features", said)]) from error
        return cast

    return read


@dataclass(frozen=True)
class Column:
    """A column of a signature; without a name it goes by its place."""

    place: int
    name: str | None
    kind: DataType
    required: bool

    @classmethod
    def of(cls, place: int, spec: ColSpec | TensorSpec) -> Column:
        """The column at a place of a signature. Raises UnsupportedSignature for a type that JSON values cannot be."""
        if not isinstance(spec.type, DataType) or spec.type not in CASTS:
            kinds = ", ".join(sorted(kind.name for kind in CASTS))
            raise UnsupportedSignature(f"the column {spec.name!r} is of type {spec.type}; rows can carry {kinds}")
        return cls(place, spec.name, spec.type, spec.required)

    @property
    def label(self) -> str | int:
        """What a table calls it."""
        return self.place if self.name is None else self.name

    def cast(self, value: Any) -> Any:
        """A JSON value as one of the column. Raises ValueError or TypeError."""
        return None if value is None and not self.required else CASTS[self.kind](value)

    def series(self, values: list[Any]) -> Any:
        """The column's values as pandas has them; it is told the type unless that follows from the values."""
        typed = self.required and self.kind is not DataType.datetime
        return pd.Series(values, dtype=self.kind.to_pandas() if typed else None)


def _table_reader(schema: Schema) -> Read:
    columns = [Column.of(place, spec) for place, spec in enumerate(schema.inputs)]
    names = [str(column.label) for column in columns]

    def read(rows: Rows) -> Any:
        _same_length(rows, len(columns), names)
        complaints: list[Complaint] = []
        values: list[list[Any]] = [[] for _ in columns]
        for row, given in enumerate(rows):
            for column, value in zip(columns, given, strict=True):
                try:
                    values[column.place].append(column.cast(value))
                except (ValueError, TypeError):
                    said = f"{_shown(value)} is no {column.kind.name}, as the model's signature says"
                    complaints.append(Complaint(_place(row, column.place, column.name), said))
        _complain(complaints)
        return pd.DataFrame({column.label: column.series(values[column.place]) for column in columns}, copy=False)

    return read


def _same_length(rows: Rows, length: int, names: Sequence[str] = ()) -> None:
    def complaint(row: int, values: Sequence[Any]) -> Complaint:
        if names:
            message = f"{len(values)} values; the model's signature has {length}: {', '.join(names)}"
        else:
            message = f"{len(values)} values, the first row has {length}"
        missing = f" ({names[len(values)]} is missing)" if len(values) < len(names) else ""
        return Complaint(f"features[{row}]", message + missing)

    _complain(complaint(row, values) for row, values in enumerate(rows) if len(values) != length)


def _complain(complaints: Iterable[Complaint]) -> None:
    found = list(islice(complaints, COMPLAINTS))
    if found:
        raise Unfit(found)


def _place(row: int, column: int, name: str | None = None) -> str:
    return f"features[{row}][{column}]" + (f" ({name})" if name is not None else "")


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}..."


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError
    return float(value)


def _integer(bits: int) -> Callable[[Any], int]:
    def cast(value: Any) -> int:
        if _number(value) != int(value) or not -(1 << bits - 1) <= int(value) < 1 << bits - 1:
            raise ValueError
        return int(value)

    return cast


def _exactly(kind: type) -> Callable[[Any], Any]:
    def cast(value: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError
        return value

    return cast


CASTS: dict[DataType, Callable[[Any], Any]] = {
    DataType.boolean: _exactly(bool),
    DataType.integer: _integer(32),
    DataType.long: _integer(64),
    DataType.float: _number,
    DataType.double: _number,
    DataType.string: _exactly(str),
    DataType.datetime: datetime.fromisoformat,
}
"""How a JSON value becomes one of each type; ValueError and TypeError say that it is none."""
