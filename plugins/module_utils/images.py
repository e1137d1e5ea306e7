# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue of images: what each is made of, what it is called and what must be built.

Everything here is offline and pure: the reference of an image is known without a registry or a
cluster, because its tag is the hash of what it is made from.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

FOLDER = Path(__file__).resolve().parents[2] / "images"
RECIPE = 1  # raise it when the builder turns the same inputs into something else: every tag changes
NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
VERSION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,100}")  # what a tag may hold, with room for the hash

ENTRY: dict[str, dict[str, Any]] = {
    "version": {"type": "str", "required": True},
    "source": {"type": "str", "choices": ["built", "upstream", "mirror"], "default": "built"},
    "upstream": {"type": "str"},
    "program": {"type": "bool", "default": False},
    "base": {"type": "str"},
    "go": {
        "type": "dict",
        "options": {
            "module": {"type": "str"},
            "package": {"type": "str", "default": "."},
            "tags": {"type": "list", "elements": "str", "default": []},
            "stamp": {"type": "dict", "default": {}},
        },
    },
    "debian": {
        "type": "dict",
        "options": {
            "suite": {"type": "str", "required": True},
            "packages": {"type": "list", "elements": "str", "required": True},
            "bare": {"type": "bool", "default": False},
        },
    },
    "python": {"type": "str"},
}


@dataclass(frozen=True)
class Go:
    """A Go program: `package` of the module in images/<module>, its `stamp` set by the linker."""

    module: str
    package: str = "."
    tags: tuple[str, ...] = ()
    stamp: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Debian:
    """Packages of a Debian suite; `bare` are only unpacked, with nothing of the system around them."""

    suite: str
    packages: tuple[str, ...]
    bare: bool = False


@dataclass(frozen=True)
class Image:
    """One entry of the catalogue. A `program` is a binary for this host instead of an image."""

    name: str
    version: str
    source: str = "built"
    upstream: str | None = None
    program: bool = False
    base: str | None = None
    go: Go | None = None
    debian: Debian | None = None
    python: str | None = None


@dataclass(frozen=True)
class Catalogue:
    """All images, in the order in which they are built."""

    images: Mapping[str, Image]
    registry: str
    mirror: str = ""
    folder: Path = FOLDER
    _hashes: dict[str, str] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls, entries: Mapping[str, Any], *, registry: str, mirror: str = "", folder: Path = FOLDER) -> Catalogue:
        """Check the raw `entries`; PlatformError lists everything that is wrong with them."""
        problems: list[str] = []
        images: dict[str, Image] = {}
        for name, entry in entries.items():
            found = list(_problems(name, entry, images, mirror, folder))
            problems += [f"platform_images.{name}: {problem}" for problem in found]
            if not found:
                images[name] = _image(name, entry)
        if problems:
            raise PlatformError("\n".join(problems))
        return cls(images, registry, mirror, folder)

    def image(self, name: str) -> Image:
        """The entry called `name`."""
        try:
            return self.images[name]
        except KeyError:
            known = ", ".join(self.images) or "none"
            raise PlatformError(f"platform_images has no {name!r}; it has: {known}") from None

    def content_hash(self, name: str) -> str:
        """Twelve hexadecimal digits over all that decides what `name` becomes when it is built.

        It is worked out once, so that names stay the same for a whole run.
        """
        if name not in self._hashes:
            self._hashes[name] = self._hash(name)
        return self._hashes[name]

    def edited(self, name: str) -> bool:
        """Whether the files of `name` are not what they were when its hash was worked out."""
        return self._hash(name) != self.content_hash(name)

    def _hash(self, name: str) -> str:
        image = self.image(name)
        go = image.go and [image.go.package, image.go.tags, dict(image.go.stamp)]
        debian = image.debian and [image.debian.suite, image.debian.packages, image.debian.bare]
        replaced = image.upstream if image.source != "built" else None
        recipe = [RECIPE, platform.machine(), image.version, replaced, image.program, go, debian, image.python]
        digest = hashlib.sha256(json.dumps(recipe).encode())
        for folder in dict.fromkeys([name, image.go.module if image.go else name]):
            for path, content in _files(self.folder / folder):
                digest.update(f"\0{path}\0{hashlib.sha256(content).hexdigest()}".encode())
        if image.base:
            digest.update(f"\0{self.content_hash(image.base)}".encode())
        return digest.hexdigest()[:12]

    def tag(self, name: str) -> str:
        """`<version>-<content hash>`."""
        return f"{self.image(name).version}-{self.content_hash(name)}"

    def reference(self, name: str) -> str:
        """The full image reference that a pod uses."""
        image = self.image(name)
        if image.program:
            raise PlatformError(f"{name} is a program for the host, not an image")
        if image.source == "built":
            return f"{self.registry}/{name}:{self.tag(name)}"
        if image.source == "upstream":
            assert image.upstream
            return image.upstream
        return f"{self.mirror}/{_path(image.upstream) if image.upstream else f'{name}:{self.tag(name)}'}"

    def program_path(self, name: str, cache: Path) -> Path:
        """Where the program `name` is kept."""
        return cache / "programs" / f"{name}-{self.content_hash(name)}" / name

    def locate(self, name: str, cache: Path) -> str:
        """The reference of an image, the path of a program."""
        return str(self.program_path(name, cache)) if self.image(name).program else self.reference(name)

    def plan(self, names: Iterable[str], present: Iterable[str] = ()) -> list[Image]:
        """What must be built for `names`, in order, when `present` are there already.

        The base of an image that is there is not asked for.
        """
        there = set(present)
        wanted: set[str] = set()
        for name in names:
            following: str | None = name
            while following and following not in there and self.image(following).source == "built":
                wanted.add(following)
                following = self.image(following).base
        return [image for name, image in self.images.items() if name in wanted]


def _problems(name: str, entry: object, earlier: Mapping[str, Image], mirror: str, folder: Path) -> Iterator[str]:
    if not NAME.fullmatch(name):
        yield "a name has only lower-case letters, digits and single dashes"
    if not isinstance(entry, Mapping):
        yield f"must be a dictionary, not {entry!r}"
        return
    checked = ArgumentSpecValidator(ENTRY).validate(dict(entry))
    if checked.error_messages:
        yield from checked.error_messages
        return
    image = _image(name, entry)
    if not VERSION.fullmatch(image.version):
        yield f"version {image.version!r} cannot stand in a tag: letters, digits, '_', '.' and '-' can"
    if image.source == "upstream" and not image.upstream:
        yield "source is 'upstream' but there is no upstream: reference"
    if image.source == "mirror" and not mirror:
        yield "source is 'mirror' but platform_images_mirror is empty"
    if image.program and not image.go:
        yield "a program needs go:"
    if image.base and (image.base not in earlier or earlier[image.base].program):
        yield f"base {image.base!r} is not among the images before it: {', '.join(earlier) or 'none'}"
    if image.go and not (folder / image.go.module / "go.mod").is_file():
        yield f"go.module {image.go.module!r} is no folder with a go.mod in {folder}"
    if image.python and not (folder / name / "requirements.txt").is_file():
        yield f"python is given but {folder / name} has no requirements.txt"
    if image.source == "built" and not image.program and not (folder / name / "Containerfile").is_file():
        yield f"{folder / name} has no Containerfile"


def _image(name: str, entry: Mapping[str, Any]) -> Image:
    values = ArgumentSpecValidator(ENTRY).validate(dict(entry)).validated_parameters
    go, debian = values["go"], values["debian"]
    return Image(
        name=name,
        version=values["version"],
        source=values["source"],
        upstream=values["upstream"],
        program=values["program"],
        base=values["base"],
        go=go and Go(go["module"] or name, go["package"], tuple(go["tags"]), go["stamp"]),
        debian=debian and Debian(debian["suite"], tuple(debian["packages"]), debian["bare"]),
        python=values["python"],
    )


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Every file of `folder` with its content, sorted; what tools leave behind is not looked at."""
    for path in sorted(folder.rglob("*")):
        parts = path.relative_to(folder).parts
        if path.is_file() and not any(part.startswith(".") or part == "__pycache__" for part in parts):
            yield "/".join(parts), path.read_bytes()


def _path(reference: str) -> str:
    """`reference` without its registry's host, as every client splits it."""
    host, slash, path = reference.partition("/")
    return path if slash and (host == "localhost" or set(host) & set(".:")) else reference
