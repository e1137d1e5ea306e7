"""The dashboards of the roles are what their builder writes, and the page can draw all of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import FILES, of_role

from tools.dashboards.__main__ import ROLES, files

WRITTEN = files()


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: str(path.relative_to(ROLES)))
def test_a_file_is_what_the_builder_writes(path: Path) -> None:
    kept = path.read_text(encoding="utf-8") if path.is_file() else ""
    assert kept == WRITTEN[path], "run python -m tools.dashboards"


def test_every_role_that_is_watched_has_a_dashboard() -> None:
    watched = {path.parents[2] for path in ROLES.glob("*/files/monitoring/rules.yml")}
    assert {role.name for role in watched if not list(role.glob(FILES))} == set()


def test_all_of_them_can_be_drawn_and_are_told_apart() -> None:
    found = [item for role in sorted(ROLES.iterdir()) for item in of_role(role, role.name)]
    assert len({item.uid for item in found}) == len({item.title for item in found}) == len(found)
    assert [item.title for item in found if "overview" in item.tags] == ["Platform"]
    for item in found:
        titles = [(row.title, panel.title) for row in item.rows for panel in row.panels]
        assert len(set(titles)) == len(titles), item.title


def test_panels_fill_their_rows_side_by_side() -> None:
    for text in WRITTEN.values():
        taken: set[tuple[int, int]] = set()
        for item in json.loads(text)["panels"]:
            place = item["gridPos"]
            assert place["x"] + place["w"] <= 24, item["title"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, item["title"]
            taken |= cells
