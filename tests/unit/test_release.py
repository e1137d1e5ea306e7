"""What is released says one version everywhere."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
FILES = ("galaxy.yml", "pyproject.toml", "uv.lock", "changelogs/changelog.yaml")
release = load_program("tools/release.py")
VERSION: str = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what tells versions, ready to be released."""
    for name in FILES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy2(ROOT / name, tmp_path / name)
    return tmp_path


def test_what_agrees_can_be_released(project: Path) -> None:
    assert list(release.problems(project, VERSION)) == []


def test_every_place_of_the_version_is_looked_at(project: Path) -> None:
    found = list(release.problems(project, "99.0.0"))
    assert [problem.partition(":")[0] for problem in found] == list(FILES)


def test_fragments_that_are_left_are_named(project: Path) -> None:
    (project / "changelogs" / "fragments").mkdir()
    (project / "changelogs" / "fragments" / "more.yml").write_text("---\n", encoding="utf-8")
    assert list(release.problems(project, VERSION)) == ["changelogs/fragments: not in the changelog yet: more.yml"]
