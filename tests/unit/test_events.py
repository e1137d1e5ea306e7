"""The events of a run: whole lines from many processes, and an end for every begin."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.image_events import ImageEvents


@pytest.fixture
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a run that this test began."""
    monkeypatch.setenv(events.VARIABLE, "")
    monkeypatch.setenv(events.SHOWN, "")
    yield events.begin()
    events._remove()


def told(path: Path) -> list[tuple[str, str, str, str]]:
    return [(event["host"], event["kind"], event["phase"], event["message"]) for event in events.read(path)[0]]


def test_nothing_is_written_where_nobody_began_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(events.VARIABLE, raising=False)
    events.emit("minio", "begin", "apply")
    with events.phase("minio", "apply"):
        events.progress("minio", "goes on")


def test_a_run_is_begun_once_and_its_file_goes_with_it(path: Path) -> None:
    assert events.begin() == path
    assert os.environ[events.VARIABLE] == str(path)
    assert path.stat().st_mode & 0o077 == 0
    events._remove()
    assert not path.exists()
    events.emit("minio", "begin", "apply")  # a worker that outlives the run
    assert events.read(path) == ([], 0)


def test_what_a_killed_run_left_is_removed_later(path: Path) -> None:
    old, new = (path.with_name(f"{events.PREFIX}{name}") for name in ("old", "new"))
    for left in (old, new):
        left.touch()
    os.utime(old, (0, 0))
    events._remove()
    events.begin()
    assert (old.exists(), new.exists()) == (False, True)
    new.unlink()


def test_a_file_of_a_parent_is_not_taken_for_ones_own(path: Path, tmp_path: Path) -> None:
    events._remove()
    os.environ[events.VARIABLE] = str(tmp_path / "of-a-parent")
    assert events.begin() != tmp_path / "of-a-parent"


def test_a_phase_begins_goes_on_and_ends(path: Path) -> None:
    with events.phase("mlflow", "wait", waits_for=["minio"]):
        events.progress("mlflow", "waits for minio")
        with events.phase("mlflow", "apply", of=3) as applying:
            events.progress("mlflow", "one", done=1, of=3)
            applying.message = "3 created"
        events.progress("mlflow", "again")
    events.progress("mlflow", "outside of a phase")
    assert told(path) == [
        ("mlflow", "begin", "wait", ""),
        ("mlflow", "progress", "wait", "waits for minio"),
        ("mlflow", "begin", "apply", ""),
        ("mlflow", "progress", "apply", "one"),
        ("mlflow", "end", "apply", "3 created"),
        ("mlflow", "progress", "wait", "again"),
        ("mlflow", "end", "wait", ""),
    ]
    first, *_, last = events.read(path)[0]
    assert first["waits_for"] == ["minio"]
    assert first["time"] <= last["time"]


@pytest.mark.parametrize("error", [PlatformError("no quota"), ValueError("no quota"), KeyboardInterrupt("no quota")])
def test_a_phase_that_fails_ends_too(path: Path, error: BaseException) -> None:
    with pytest.raises(type(error)), events.phase("mlflow", "wait"), events.phase("mlflow", "apply"):
        raise error
    ends = [event for event in events.read(path)[0] if event["kind"] == "end"]
    assert [(event["phase"], event["message"], event["failed"]) for event in ends] == [
        ("apply", "no quota", True),
        ("wait", "no quota", True),
    ]
    if isinstance(error, PlatformError):
        assert error.details["phase"] == "apply"


def test_a_follower_reads_whole_lines_and_goes_on_from_there(path: Path) -> None:
    events.emit("minio", "begin", "apply", "é" * 5000)
    with path.open("a", encoding="utf-8") as file:
        file.write('{"half": ')
    found, offset = events.read(path)
    assert [event["message"] for event in found] == ["é" * events.LONGEST_MESSAGE]
    assert events.read(path, offset) == ([], offset)
    with path.open("a", encoding="utf-8") as file:
        file.write("1}\n")
    assert events.read(path, offset) == ([{"half": 1}], path.stat().st_size)


def _write(number: int) -> None:
    for step in range(200):
        events.emit(f"host{number}", "progress", "apply", "x" * 500, done=step)


def test_processes_do_not_write_into_each_others_lines(path: Path) -> None:
    workers = [multiprocessing.get_context("fork").Process(target=_write, args=(number,)) for number in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found, _ = events.read(path)
    for number in range(4):
        assert [event["done"] for event in found if event["host"] == f"host{number}"] == list(range(200))


def test_each_image_begins_and_ends(path: Path) -> None:
    images = ImageEvents("node1")
    with events.phase("node1", "images"):
        images.take("another run is building images, waiting")
        images.take("[1/2] base: installing Debian packages")
        images.take("[2/2] minio: compiling")
        images.take("[1/2] base: storing, 30 s")
        images.take("[1/2] base: built in 3 s")
        images.take("Compiling minio failed:\n[2/2] no line of a step\nwhat is under way is finished first")
        images.close()
    assert [item for item in told(path) if item[3]] == [
        ("node1", "progress", "images", "another run is building images, waiting"),
        ("base", "begin", "images", "installing Debian packages"),
        ("minio", "begin", "images", "compiling"),
        ("base", "progress", "images", "storing"),
        ("base", "end", "images", "built"),
        (
            "node1",
            "progress",
            "images",
            "Compiling minio failed:\n[2/2] no line of a step\nwhat is under way is finished first",
        ),
        ("minio", "end", "images", "not finished"),
    ]
    counted = [(event["done"], event["of"]) for event in events.read(path)[0] if "done" in event]
    assert counted == [(0, 2), (0, 2), (1, 2)]
