"""Builds the collection's archive and its release notes, when everything says the same version.

The version of a release is that of its tag:

    make release VERSION=1.2.3
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
RELEASE = ROOT / ".ansible" / "release"


def problems(root: Path, version: str) -> Iterator[str]:
    """What must be put right in the project at `root` before `version` can be released."""
    released = yaml.safe_load((root / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))["releases"]
    lock = tomllib.loads((root / "uv.lock").read_text(encoding="utf-8"))["package"]
    versions = {
        "galaxy.yml": yaml.safe_load((root / "galaxy.yml").read_text(encoding="utf-8"))["version"],
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
        "uv.lock": next(item["version"] for item in lock if item["name"] == "mlops-platform"),
    }
    yield from (f"{name}: version is {found}, not {version}" for name, found in versions.items() if found != version)
    if version not in released:
        yield f"changelogs/changelog.yaml: no release {version}; run antsibull-changelog release"
    fragments = sorted(path.name for path in (root / "changelogs" / "fragments").glob("*.yml"))
    if fragments:
        yield f"changelogs/fragments: not in the changelog yet: {', '.join(fragments)}"


def main() -> int:
    """Check, build and write the notes; returns 1 and says why where that cannot be."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", help="for instance 1.2.3")
    version = parser.parse_args().version
    found = list(problems(ROOT, version))
    if found:
        print("\n".join(found), file=sys.stderr)
        return 1
    shutil.rmtree(RELEASE, ignore_errors=True)
    RELEASE.mkdir(parents=True)
    notes = ["antsibull-changelog", "generate", "--only-latest", "--output", str(RELEASE / "notes.md")]
    notes += ["--output-format", "md", version]
    build = ["ansible-galaxy", "collection", "build", "--output-path", str(RELEASE)]
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"}
    for program, *arguments in (notes, build):
        subprocess.run([BIN / program, *arguments], cwd=ROOT, env=environment, check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
