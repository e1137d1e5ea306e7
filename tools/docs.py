"""Builds the documentation's site: README first, docs/, the roles' READMEs, and the reference of plugins and roles.

It needs no network. A warning, a link that leads nowhere for instance, fails it:

    python tools/docs.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BUILD = ROOT / ".ansible" / "docs"
PAGES = ("*.md", "docs/*", "roles/*/README.md", "LICENSE")
NAVIGATION = "docs/navigation.md"
NOT_PAGES = {"docs/conf.py", NAVIGATION, "README.md"}


def stage(source: Path) -> None:
    """Lay out the site's pages as they are in the repository, so that links between them hold; README is the index."""
    shutil.rmtree(source, ignore_errors=True)
    for path in sorted(path for pattern in PAGES for path in ROOT.glob(pattern) if path.is_file()):
        name = path.relative_to(ROOT).as_posix()
        if name not in NOT_PAGES:
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, source / name)
    parts = [(ROOT / name).read_text(encoding="utf-8") for name in ("README.md", NAVIGATION)]
    (source / "index.md").write_text("\n".join(parts), encoding="utf-8")


def reference(target: Path) -> None:
    """Write the pages of all plugins and roles, from the documentation that ansible-doc shows."""
    target.mkdir()
    call(
        "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error",
        "--no-add-antsibull-docs-version", "--dest-dir", target, "mlops.platform",
    )  # fmt: skip


def call(program: str, *arguments: str | Path) -> None:
    """Run a program of the environment that sees this collection and no other configuration."""
    path = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    environment = {**os.environ, "PATH": path, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    subprocess.run([BIN / program, *arguments], cwd=ROOT, env=environment, check=True)


def main() -> int:
    """Build the site and say where it is; returns 1 where a program refused it, which has said why."""
    source, site = BUILD / "source", BUILD / "site"
    stage(source)
    try:
        reference(source / "reference")
        call("sphinx-build", "-q", "-W", "--keep-going", "-E", "-c", ROOT / "docs", source, site)
    except subprocess.CalledProcessError:
        return 1
    print(f"written: {(site / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
