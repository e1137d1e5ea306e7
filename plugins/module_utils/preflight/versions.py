# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which versions go together: the table in meta/versions.yml held against what an inventory asks for."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version


@dataclass(frozen=True)
class Pair:
    """One row: `of` in one of `versions` goes with `needs` of `goes_with`; `source` says who says so.

    Names are components, `kubernetes` (the cluster), or `python:<package>` of the controller's environment; `platform`
    is this collection as it is, without `versions`. Versions are specifiers as of Python packages, `>=3,<4`.
    """

    of: str
    goes_with: str
    needs: str
    source: str
    versions: str = ""


def python_packages(rows: Iterable[Pair]) -> dict[str, str]:
    """The versions of the Python packages in the table that are installed here, by `python:<package>`."""
    found: dict[str, str] = {}
    for name in {name for row in rows for name in (row.of, row.goes_with) if name.startswith("python:")}:
        try:
            found[name] = metadata.version(name.partition(":")[2])
        except metadata.PackageNotFoundError:
            continue
    return found


def mismatches(rows: Iterable[Pair], present: Mapping[str, str]) -> list[tuple[str, str]]:
    """What does not go together among the versions that are present: its name and a sentence on it."""
    found: list[tuple[str, str]] = []
    for row in rows:
        other = _version(present.get(row.goes_with))
        if other is None or not _applies(row, present) or other in SpecifierSet(row.needs, prereleases=True):
            continue
        one = f"{row.of} {present.get(row.of, '')}".strip()
        needed = f"{one} goes with {row.goes_with.removeprefix('python:')} {row.needs}"
        found.append((row.goes_with, f"is {present[row.goes_with]}: {needed} ({row.source})"))
    return found


def _applies(row: Pair, present: Mapping[str, str]) -> bool:
    """Whether what the row is of is there, in one of its versions."""
    if not row.versions:
        return True
    found = _version(present.get(row.of))
    return found is not None and found in SpecifierSet(row.versions, prereleases=True)


def _version(text: str | None) -> Version | None:
    """A version, of whose spelling only the numbers count where it is not Python's own; None where there is none."""
    if text is None:
        return None
    try:
        return Version(str(text))
    except InvalidVersion:
        found = re.match(r"v?(\d+(\.\d+)*)", str(text))
        return Version(found[1]) if found else None
