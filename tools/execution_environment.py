"""Writes the build context of the execution environment: the definition, the locked packages, the built collection.

`uv.lock` stays the only list of packages. Afterwards a container engine builds it, as the last line says:

    make environment
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
CACHE = Path(os.environ.get("MLOPS_PLATFORM_CACHE") or Path.home() / ".cache" / "mlops-platform")
DEFINITION = ROOT / ".config" / "execution-environment.yml"
FOLDER = ROOT / ".ansible" / "environment"


def call(*command: str | Path) -> str:
    """The output of a program of the environment."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    return subprocess.run(
        command, cwd=ROOT, env={**os.environ, "PATH": path}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def locked() -> str:
    """The packages of `uv.lock` that runs need, without those of development, one `name==version` a line."""
    uv = shutil.which("uv") or str(CACHE / "uv" / "bin" / "uv")
    words = ["export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", "--no-annotate"]
    return call(uv, *words, "--no-header")


def definition(requirements: str) -> dict[str, object]:
    """The definition with ansible-core of the locked version."""
    found: dict[str, dict[str, object]] = yaml.safe_load(DEFINITION.read_text(encoding="utf-8"))
    core = re.search(r"^ansible-core==[^\s;]+", requirements, re.MULTILINE)
    assert core
    found["dependencies"]["ansible_core"] = {"package_pip": core[0]}
    return dict(found)


def main() -> int:
    """Write the context and say how to build it."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    requirements = locked()
    (FOLDER / "requirements.txt").write_text(requirements, encoding="utf-8")
    (FOLDER / DEFINITION.name).write_text(yaml.safe_dump(definition(requirements)), encoding="utf-8")
    call(BIN / "ansible-galaxy", "collection", "build", "--output-path", FOLDER)
    (archive,) = FOLDER.glob("*.tar.gz")
    archive.rename(FOLDER / "mlops-platform.tar.gz")
    words: list[str | Path] = ["--output-filename", "Containerfile", "--file", FOLDER / DEFINITION.name]
    call(BIN / "ansible-builder", "create", *words, "--context", FOLDER / "context")
    context = (FOLDER / "context").relative_to(ROOT)
    print(f"written: {context}; build it with\n  podman build -t mlops-platform-ee {context}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
