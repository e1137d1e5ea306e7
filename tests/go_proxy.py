"""A machine with a Go module cache, a lock and a proxy of its own: folders, and archives made for a test."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path
from zipfile import ZipFile

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.go_modules import Pin, content_hash, pin


class Machine:
    """What tests do to it: `publish` a module, pin it, put it into Go's cache, name a proxy. `said` is the progress."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.go, self.published, self.locks = (
            folder / name for name in ("cache", "go", "published", "locks")
        )
        self.said: list[str] = []
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("GOMODCACHE", str(self.go))
        self.proxy(f"file://{self.published}")

    def proxy(self, value: str) -> None:
        """Set GOPROXY."""
        self._monkeypatch.setenv("GOPROXY", value)

    def publish(self, module: str, version: str, files: Mapping[str, str]) -> None:
        """Put a version of a module at the proxy, and pin it in the lock `own`."""
        made = Pin(module, version, "")
        path = self.published / made.path
        path.parent.mkdir(parents=True, exist_ok=True)
        with ZipFile(path, "w") as archive:
            for name, text in files.items():
                archive.writestr(f"{made}/{name}", text)
        (self.locks / "own").mkdir(parents=True, exist_ok=True)
        (self.locks / "own" / "go.mod").write_text(f"module own\n\nrequire (\n\t{module} {version}\n)\n")
        (self.locks / "own" / "go.sum").write_text(f"{module} {version} {content_hash(ZipFile(path))}\n")

    def pin(self, module: str) -> Pin:
        """What the lock says of a module."""
        return pin(module, "own", self.locks)

    def to_cache(self, module: str, version: str) -> Path:
        """Put a published version into Go's module cache."""
        name = Pin(module, version, "").path
        path = self.go / "cache" / "download" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(self.published / name, path)
        return path
