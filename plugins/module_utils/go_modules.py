# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Go modules as archives of files, found as Go finds them: in its module cache, or by GOPROXY, held against go.sum.

The protocol, the layout of the cache and the hash are those of https://go.dev/ref/mod.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import ssl
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from zipfile import BadZipFile, ZipFile

from ansible.module_utils.urls import Request
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError, without_login

GOPROXY = "https://proxy.golang.org,direct"
"""Go's own default."""
ABSENT = (404, 410)
"""Answers after which Go asks the next of the proxies that a comma separates."""
REPEAT_SECONDS = 5
TIMEOUT_SECONDS = 30
CHUNK = 1 << 20
Say = Callable[[str], None]


@dataclass(frozen=True)
class Pin:
    """A version of a module, and the hash of its files ("h1:...")."""

    module: str
    version: str
    hash: str

    def __str__(self) -> str:
        """What the paths in its archive begin with."""
        return f"{self.module}@{self.version}"

    @property
    def path(self) -> str:
        """Its archive's path in a module cache and at a proxy: capital letters are written as ! and a small one."""
        return re.sub("[A-Z]", lambda found: f"!{found[0].lower()}", f"{self.module}/@v/{self.version}.zip")


def pin(module: str, lock: str, locks: Path) -> Pin:
    """The version and hash that locks/<lock>/go.mod and go.sum give a module.

    Raises PlatformError where they do not: nothing is used that is not pinned.
    """
    folder = locks / lock
    if not (folder / "go.mod").is_file():
        known = ", ".join(sorted(path.parent.name for path in locks.glob("*/go.mod")))
        raise PlatformError(f"upstream {module}: lock is {lock!r}, which has no go.mod in {locks}; there are {known}")
    required: dict[str, tuple[str, str]] = {}
    for words in _directives((folder / "go.mod").read_text(encoding="utf-8")):
        if words[0] == "require" and len(words) >= 3:
            required.setdefault(words[1], (words[1], words[2]))
        elif words[0] == "replace" and "=>" in words:
            name, version = [*words[words.index("=>") + 1 :], ""][:2]
            required[words[1]] = (name, version)
    if module not in required:
        raise PlatformError(f"upstream {module}: {folder / 'go.mod'} does not require it")
    name, version = required[module]
    sums = (line.split() for line in (folder / "go.sum").read_text(encoding="utf-8").splitlines())
    found = next((words[2] for words in sums if words[:2] == [name, version]), None)
    if not found:
        raise PlatformError(f"upstream {module}: {folder / 'go.sum'} has no hash of {name} {version}")
    return Pin(name, version, found)


def _directives(go_mod: str) -> Iterator[list[str]]:
    """The directives of a go.mod as words, those in a block with the block's own first."""
    block: list[str] = []
    for line in go_mod.splitlines():
        words = line.partition("//")[0].split()
        if words == [")"]:
            block = []
        elif words[1:] == ["("]:
            block = words[:1]
        elif words:
            yield block + words


@contextmanager
def archive(pinned: Pin, cache: Path, say: Say, authorities: str = "") -> Iterator[ZipFile]:
    """The files of a module, which are what was pinned. `cache` is the platform's folder; see `upstream.read`.

    Raises PlatformError with all that was tried.
    """
    tried: list[str] = []
    for folder in module_caches(cache):
        path = folder / "cache" / "download" / pinned.path
        if not path.is_file():
            tried.append(f"{path}: is not there")
            continue
        with path.open("rb") as file:
            if found := _opened(file, pinned):
                yield found
                return
        tried.append(f"{path}: is not what {pinned.hash} in go.sum says")
    with tempfile.TemporaryFile(dir=_made(cache)) as file:
        for url, go_on in proxies():
            problem, absent = _download(f"{url}/{pinned.path}" if "://" in url else url, file, say, pinned, authorities)
            if not problem:
                if found := _opened(file, pinned):
                    yield found
                    return
                raise PlatformError(
                    f"{without_login(url)} gave another {pinned} than the one that go.sum pins as {pinned.hash}: "
                    "it was changed since, on its way or at its source"
                )
            tried.append(problem)
            if not (go_on or absent):
                break
    lines = "\n".join(f"- {line}" for line in tried)
    raise PlatformError(
        f"the Go module {pinned} is needed and cannot be had:\n{lines}\n"
        "Set GOPROXY to a module proxy that has it (https://..., or file:///folder of cache/download of a machine "
        "that has), or run once with network."
    )


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _opened(file: IO[bytes], pinned: Pin) -> ZipFile | None:
    """The archive in a file; None where it is not what was pinned."""
    try:
        found = ZipFile(file)
        return found if content_hash(found) == pinned.hash else None
    except BadZipFile:
        return None


def content_hash(files: ZipFile) -> str:
    """The hash of a module's files, as go.sum has it: h1 is SHA-256 of a list of the SHA-256 of each."""
    summary = hashlib.sha256()
    for name in sorted(files.namelist()):
        summary.update(f"{hashlib.sha256(files.read(name)).hexdigest()}  {name}\n".encode())
    return f"h1:{base64.b64encode(summary.digest()).decode()}"


def setting(name: str) -> str:
    """A setting of Go's: in the environment, or in the file in which `go env -w` keeps it; "" where it has none."""
    if value := os.environ.get(name):
        return value
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    path = Path(os.environ.get("GOENV") or home / "go" / "env")
    if not path.is_file():
        return ""
    lines = (line.partition("=") for line in path.read_text(encoding="utf-8").splitlines())
    return next((value for key, _, value in lines if key == name), "")


def module_caches(cache: Path) -> list[Path]:
    """Where modules may be already: Go's own module cache, and that in which images are built."""
    first = (setting("GOPATH") or str(Path.home() / "go")).split(os.pathsep)[0]
    return [Path(setting("GOMODCACHE") or Path(first) / "pkg" / "mod"), cache / "go" / "mod"]


def proxies() -> list[tuple[str, bool]]:
    """GOPROXY's entries; with each, whether the next one is asked after any failure instead of 404 and 410 alone."""
    words = re.split(r"([,|])", setting("GOPROXY") or GOPROXY)
    ends = [*words[1::2], ""]
    return [(word.strip().rstrip("/"), end == "|") for word, end in zip(words[::2], ends, strict=True) if word.strip()]


def _download(url: str, file: IO[bytes], say: Say, pinned: Pin, authorities: str) -> tuple[str, bool]:
    """Download an archive; returns why it could not be, and whether that is because it is not there."""
    if url == "direct":
        return "GOPROXY direct: modules are taken from proxies, not from version control", True
    if url == "off":
        return "GOPROXY off: nothing is downloaded", False
    try:
        trust = ssl.create_default_context()
        if authorities:
            trust.load_verify_locations(cadata=authorities)
        with Request(context=trust).open("GET", url, timeout=TIMEOUT_SECONDS) as answer:
            file.seek(0)
            file.truncate()
            said, size = time.monotonic(), 0
            say(f"downloads {pinned}")
            while chunk := answer.read(CHUNK):
                size += file.write(chunk)
                if time.monotonic() - said >= REPEAT_SECONDS:
                    said = time.monotonic()
                    say(f"downloads {pinned}: {size / CHUNK:.0f} MB")
    except HTTPError as error:
        return f"{without_login(url)}: {error.code} {error.reason}", error.code in ABSENT
    except (OSError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        return f"{without_login(url)}: {reason}", isinstance(reason, FileNotFoundError)
    return "", False
