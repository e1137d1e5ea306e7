# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values against the description of their variable: types down to the last element, choices, formats."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.preflight.formats import format_of

TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "text"),
    "path": ((str,), "a path"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
    "bool": ((bool,), "true or false"),
    "list": ((list, tuple), "a list"),
    "dict": ((Mapping,), "a mapping"),
}
"""Ansible's types of arguments as they must be in an inventory: templates take values as they are, unconverted."""
LONGEST_VALUE = 100


def nearest(name: str, known: Iterable[str]) -> str:
    """A question for the known name that was probably meant; empty where none is near."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"; did you mean {near[0]}?" if near else ""


def one_slip(name: str, meant: str) -> bool:
    """Whether one slip makes `meant` into `name`: a letter too many, too few, another one, or two of them turned."""
    if len(name) == len(meant):
        places = [place for place, letters in enumerate(zip(name, meant, strict=True)) if len(set(letters)) > 1]
        first, last = (places[0], places[-1]) if places else (0, 0)
        turned = len(places) == 2 and last == first + 1 and name[first] == meant[last] and name[last] == meant[first]
        return len(places) == 1 or turned
    shorter, longer = sorted((name, meant), key=len)
    places = list(range(len(longer))) if len(longer) == len(shorter) + 1 else []
    return any(longer[:place] + longer[place + 1 :] == shorter for place in places)


def shown(value: Any) -> str:
    """A value as messages show it: short, on one line."""
    text = " ".join(repr(str(value) if isinstance(value, str) else value).split())
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}..."


def faults(name: str, value: Any, option: Mapping[str, Any], own: Mapping[str, str]) -> Iterator[tuple[str, Any, str]]:
    """What is wrong with a value: where in it (`minio_consumers[0].access`), the value there, what is the matter.

    `option` is an entry of argument_specs.yml, `own` the role's exceptions from the formats by name. The matter reads
    on from the value: "is 'x': allowed are ...".
    """
    yield from _faults(name, name, value, option, own)


def _faults(
    where: str, path: str, value: Any, option: Mapping[str, Any], own: Mapping[str, str]
) -> Iterator[tuple[str, Any, str]]:
    """As `faults`; `where` has the numbers of elements, `path` has none and is what formats go by."""
    kind = str(option.get("type", "str"))
    wrong = _wrong_type(kind, value)
    if wrong:
        yield where, value, wrong
        return
    choices = option.get("choices")
    if kind != "list" and choices and value not in choices:
        yield where, value, f"allowed are {', '.join(map(str, choices))}{nearest(str(value), map(str, choices))}"
    elif kind == "list":
        element = {**option, "type": option.get("elements", "raw")}  # whose choices are those of its elements
        for number, item in enumerate(value):
            yield from _faults(f"{where}[{number}]", path, item, element, own)
    elif kind == "dict" and option.get("options"):
        yield from _keys(where, path, value, option["options"], own)
    elif check := format_of(path, own):
        for below, found, allowed in check(value):
            yield f"{where}{below}", found, f"allowed is {allowed}"


def _keys(
    where: str, path: str, value: Mapping[str, Any], options: Mapping[str, Any], own: Mapping[str, str]
) -> Iterator[tuple[str, Any, str]]:
    for key in value:
        if key not in options:
            yield f"{where}.{key}", value[key], f"there is no such key{nearest(str(key), options)}"
    for key, inner in options.items():
        if key in value:
            yield from _faults(f"{where}.{key}", f"{path}.{key}", value[key], inner, own)
        elif inner.get("required"):
            yield where, value, f"the key {key} is missing"


def _wrong_type(kind: str, value: Any) -> str:
    """What is wrong with the type of a value; empty where nothing is."""
    if kind not in TYPES:  # raw
        return ""
    types, wanted = TYPES[kind]
    if value is None:
        return f"give {wanted}, or remove the line"
    if isinstance(value, types) and (kind == "bool" or not isinstance(value, bool)):
        return ""
    if isinstance(value, str) and kind in ("int", "float", "bool"):
        return f"this is text; allowed is {wanted}, without quotes (after -e as JSON: -e '{{\"name\": value}}')"
    if isinstance(value, (int, float)) and kind in ("str", "path"):
        return f"allowed is {wanted}: put it into quotes"
    return f"allowed is {wanted}"
