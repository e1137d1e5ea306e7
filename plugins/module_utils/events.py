# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens in a run, as it happens: one line of JSON an event, in a file that all processes of the run share.

Actions run in processes of their own. What they emit is followed by the progress that people watch and read
at the end by the report. A line is `{"time": seconds since the epoch, "host": "mlflow", "kind": "begin", "phase":
"rollout", "message": "..."}`, and where they are known `"waits_for": [names]`, `"done": n, "of": m`, `"failed": true`.
A `"stage": true` is one of the run, not of its host; an image, which takes a host's place, is `"part_of"` its host. A
`"plot"` is the picture (SVG) of the experiment that MLflow has as the run `"run_id"`.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

VARIABLE = "MLOPS_PLATFORM_EVENTS"
SHOWN = "MLOPS_PLATFORM_EVENTS_SHOWN"
LONGEST_MESSAGE = 2000
PREFIX = "mlops-platform-events-"
LEFT_SECONDS = 86400
"""The age at which a file is one that a killed run left."""

Kind = Literal["begin", "progress", "end"]
Phase = Literal[
    "preflight",
    "cluster",
    "images",
    "render",
    "wait",
    "apply",
    "rollout",
    "configure",
    "validate",
    "model",
    "dashboards",
]
Event = dict[str, Any]

_begun: dict[int, Path] = {}
"""The file of the run that this process, by its id, began: what a parent's environment says is not ours."""
_phases: list[tuple[Phase, dict[str, bool]]] = []
"""The phases that this process is in, with what all their events say, innermost last: a worker does one task."""


@dataclass
class Outcome:
    """What a phase says at its end."""

    message: str = ""
    failed: bool = False


def begin() -> Path:
    """The file of this run's events, made at the first call; all processes that are forked later write to it."""
    if os.getpid() not in _begun:
        for left in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
            with contextlib.suppress(OSError):  # another's, or another run removes it
                if time.time() - left.stat().st_mtime > LEFT_SECONDS:
                    left.unlink()
        handle, name = tempfile.mkstemp(prefix=PREFIX)
        os.close(handle)
        _begun[os.getpid()] = Path(name)
        os.environ[VARIABLE] = name
        os.environ.pop(SHOWN, None)
        atexit.register(_remove)
    return _begun[os.getpid()]


def _remove() -> None:
    if path := _begun.pop(os.getpid(), None):
        path.unlink(missing_ok=True)


def show() -> None:
    """Say that somebody shows the events of this run to people, so that nobody else needs to."""
    os.environ[SHOWN] = "1"


def shown() -> bool:
    """Whether somebody shows the events of this run to people."""
    return SHOWN in os.environ


def emit(host: str, kind: Kind, phase: Phase, message: str = "", **fields: object) -> None:
    """Append one event, whole; does nothing where nobody began a run."""
    name = os.environ.get(VARIABLE)
    if not name:
        return
    event = {"time": time.time(), "host": host, "kind": kind, "phase": phase, "message": message[:LONGEST_MESSAGE]}
    line = json.dumps({**event, **fields}, default=str) + "\n"
    with contextlib.suppress(OSError):  # the run has ended
        handle = os.open(name, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(handle, line.encode())
        finally:
            os.close(handle)


@contextlib.contextmanager
def phase(host: str, name: Phase, message: str = "", *, stage: bool = False, **fields: object) -> Iterator[Outcome]:
    """Emit the begin and the end of a phase; a PlatformError takes the phase's name with it.

    A `stage` is no part of its host's provisioning, but one of the run as a whole.
    """
    labels = {"stage": True} if stage else {}
    emit(host, "begin", name, message, **labels, **fields)
    _phases.append((name, labels))
    outcome = Outcome()
    try:
        yield outcome
    except BaseException as error:
        if isinstance(error, PlatformError):
            error.details.setdefault("phase", name)
        emit(host, "end", name, str(error), failed=True, **labels)
        raise
    else:
        emit(host, "end", name, outcome.message, **({"failed": True} if outcome.failed else {}), **labels)
    finally:
        _phases.pop()


def progress(host: str, message: str, **fields: object) -> None:
    """Emit progress in the phase that this process is in; does nothing outside of one."""
    if _phases:
        name, labels = _phases[-1]
        emit(host, "progress", name, message, **labels, **fields)


def read(path: Path, offset: int = 0) -> tuple[list[Event], int]:
    """The events after `offset` bytes, and the offset from which to read on."""
    try:
        with path.open("rb") as file:
            file.seek(offset)
            content = file.read()
    except FileNotFoundError:
        return [], offset
    whole = content[: content.rfind(b"\n") + 1]
    return [json.loads(line) for line in whole.splitlines()], offset + len(whole)
