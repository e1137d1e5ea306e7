# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tables of Grafana's panels: the answers to their queries, and the transformations that make one table of them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.dashboards.query import Answer, Line

Cell = str | float | None


@dataclass(frozen=True)
class Column:
    """A column: `name` as it is shown, `ref` the target of its numbers, empty for labels."""

    name: str
    ref: str = ""


@dataclass(frozen=True)
class Table:
    """Columns and rows; a row has a cell for each column, None where there is no value."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


def table(answer: Answer) -> Table:
    """The table of a panel: one row for each set of labels, one column of numbers for each of its targets."""
    refs = [target.ref for target in answer.panel.targets]
    parts = [_of_target(ref, answer.lines, alone=len(refs) == 1) for ref in refs]
    transformations = list(answer.panel.transformations)
    by = next((str(options.get("byField")) for name, options in transformations if name == "joinByField"), "")
    found = parts[0]
    for part in parts[1:]:
        found = _joined(found, part, by)
    for name, options in transformations:
        if name == "organize":
            found = _organized(found, options)
        elif name == "sortBy":
            found = _sorted(found, [(item["field"], bool(item.get("desc"))) for item in options.get("sort") or ()])
    hidden = {item.name for item in found.columns if answer.panel.field(item.name, item.ref).custom.get("hidden")}
    found = _without(found, hidden)
    sort = answer.panel.options.get("sortBy") or ()
    return _sorted(found, [(item["displayName"], bool(item.get("desc"))) for item in sort])


def _of_target(ref: str, lines: Sequence[Line], alone: bool) -> Table:
    """The answer to one query; each row has the newest value of a series."""
    own = [line for line in lines if line.ref == ref and line.points]
    labels = sorted({name for line in own for name in line.labels if name != "__name__"})
    value = Column("Value" if alone else f"Value #{ref}", ref)
    rows = tuple((*(line.labels.get(name) for name in labels), line.points[-1][1]) for line in own)
    return Table((*map(Column, labels), value), rows)


def _joined(left: Table, right: Table, by: str) -> Table:
    """Both tables beside each other, where the columns of labels that both have, or `by`, are equal."""
    names = [column.name for column in right.columns if not column.ref and column in left.columns]
    names = [by] if by in names else names
    here = [left.columns.index(Column(name)) for name in names]
    there = [right.columns.index(Column(name)) for name in names]
    more = [index for index, column in enumerate(right.columns) if column not in left.columns]
    rows = [[*row, *[None] * len(more)] for row in left.rows]
    known = {tuple(row[index] for index in here): row for row in rows}
    for row in right.rows:
        same = tuple(row[index] for index in there)
        if same not in known:
            known[same] = [None] * (len(left.columns) + len(more))
            for index, cell in zip(here, same, strict=True):
                known[same][index] = cell
            rows.append(known[same])
        known[same][len(left.columns) :] = [row[index] for index in more]
    return Table((*left.columns, *(right.columns[index] for index in more)), tuple(map(tuple, rows)))


def _organized(found: Table, options: Mapping[str, Any]) -> Table:
    """The table with columns left out, in another order and with other names."""
    excluded = {name for name, out in (options.get("excludeByName") or {}).items() if out}
    left = _without(found, excluded)
    places, names = options.get("indexByName") or {}, options.get("renameByName") or {}
    order = sorted(range(len(left.columns)), key=lambda index: places.get(left.columns[index].name, math.inf))
    columns = [left.columns[index] for index in order]
    return Table(
        tuple(replace(column, name=str(names.get(column.name) or column.name)) for column in columns),
        tuple(tuple(row[index] for index in order) for row in left.rows),
    )


def _without(found: Table, names: set[str]) -> Table:
    kept = [index for index, column in enumerate(found.columns) if column.name not in names]
    return Table(
        tuple(found.columns[index] for index in kept),
        tuple(tuple(row[index] for index in kept) for row in found.rows),
    )


def _sorted(found: Table, order: Sequence[tuple[str, bool]]) -> Table:
    """The rows by columns, the first one counts most; what has no value comes last."""
    rows = list(found.rows)
    for name, descending in reversed(order):
        index = next((index for index, column in enumerate(found.columns) if column.name == name), None)
        if index is None:
            continue
        full = [row for row in rows if not _nothing(row[index])]
        full.sort(key=lambda row: (isinstance(row[index], str), row[index]), reverse=descending)
        rows = full + [row for row in rows if _nothing(row[index])]
    return Table(found.columns, tuple(rows))


def _nothing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
