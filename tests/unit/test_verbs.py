"""The exit status of `validate`: what the report of this run says, and nothing else."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from types import ModuleType

import pytest
from programs import load_program


@pytest.fixture
def verbs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """tools/verbs.py with its reports in `tmp_path`."""
    module = load_program("tools/verbs.py")
    monkeypatch.setattr(module, "REPORTS", tmp_path)
    return module


def written(reports: Path, text: str, age: float = 0.0) -> None:
    """A report that was written `age` seconds ago."""
    path = reports / "latest" / "report.json"
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    os.utime(path, (time.time() - age,) * 2)


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_status_of_this_run(verbs: ModuleType, tmp_path: Path, code: int) -> None:
    started = time.time() - 1
    written(tmp_path, json.dumps({"exit_status": code}))
    assert verbs.checked_status(started) == code


def test_the_report_of_an_earlier_run_says_nothing(verbs: ModuleType, tmp_path: Path) -> None:
    written(tmp_path, '{"exit_status": 0}', age=60)
    assert verbs.checked_status(time.time()) == 2


@pytest.mark.parametrize("text", ["", "{", "{}", '{"exit_status": "other"}'])
def test_a_report_that_cannot_be_read(verbs: ModuleType, tmp_path: Path, text: str) -> None:
    written(tmp_path, text)
    assert verbs.checked_status(0.0) == 2


def test_no_report(verbs: ModuleType) -> None:
    assert verbs.checked_status(0.0) == 2


def test_kubectl_is_linked_and_follows_its_program(
    verbs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verbs, "CACHE", tmp_path)
    assert verbs.kubectl_directory("") == ""
    for program in ("/cache/old/kubernetes", "/cache/new/kubernetes", "/cache/new/kubernetes"):
        folder = Path(verbs.kubectl_directory(program))
        assert str((folder / "kubectl").readlink()) == program


def test_a_second_run_waits_and_says_for_whom(
    verbs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verbs, "CACHE", tmp_path)
    monkeypatch.setattr(verbs, "REPEAT_SECONDS", 0.05)
    first = verbs.one_at_a_time("up")
    assert capsys.readouterr().out == ""
    threading.Timer(0.3, os.close, [first]).start()
    second = verbs.one_at_a_time("validate")
    said = capsys.readouterr().out
    assert f"another run is under way on this machine (up of {verbs.ROOT}, process {os.getpid()})" in said
    assert ": waiting for its end, 0 s" in said
    assert os.pread(second, 100, 0).startswith(b"validate of ")
    os.close(second)
