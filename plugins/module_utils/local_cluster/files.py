# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that are either the old ones or the new ones, whenever the run is killed."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, content: str | bytes, *, mode: int = 0o600, dry_run: bool = False) -> bool:
    """Make `path` hold `content` with `mode`; return whether that was (or, in a dry run, would be) a change."""
    wanted = content.encode() if isinstance(content, str) else content
    if path.is_file() and path.read_bytes() == wanted and path.stat().st_mode & 0o7777 == mode:
        return False
    if dry_run:
        return True
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.new")
    draft.unlink(missing_ok=True)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as stream:
        os.fchmod(stream.fileno(), mode)
        stream.write(wanted)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
    return True


def make_directory(path: Path, *, mode: int = 0o755, dry_run: bool = False) -> bool:
    """Make `path` a directory with `mode`; return whether that was (or would be) a change."""
    if path.is_dir() and path.stat().st_mode & 0o7777 == mode:
        return False
    if not dry_run:
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    return True
