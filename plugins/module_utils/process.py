# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Child processes that never outlive the run that started them."""

from __future__ import annotations

import ctypes
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent() -> None:
    """Ask the kernel to end this process when its parent ends, however the parent ends."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def run(
    command: Sequence[str | Path],
    *,
    what: str,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
    timeout: float | None = None,
) -> str:
    """Run `command` to its end and return its output (standard error included).

    `on_line` is called with each line as it comes. A program that fails, or is not done after
    `timeout` seconds and is killed, raises PlatformError saying `what` failed, with the last 20
    lines it printed.
    """
    words = [str(word) for word in command]
    try:
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            preexec_fn=die_with_parent,  # noqa: PLW1509  (one system call, which needs no lock)
        )
    except FileNotFoundError as error:
        raise PlatformError(f"{what}: the program {words[0]!r} is not installed") from error
    lines: list[str] = []
    killer = threading.Timer(timeout or 0, child.kill)
    if timeout:
        killer.start()
    assert child.stdout is not None
    with child.stdout:
        for line in child.stdout:
            lines.append(line.rstrip("\n"))
            if on_line:
                on_line(lines[-1])
    status = child.wait()
    killer.cancel()
    if status:
        tail = "\n".join(lines[-20:])
        raise PlatformError(f"{what} failed: {' '.join(words[:3])} ... ended with status {status}:\n{tail}")
    return "\n".join(lines)
