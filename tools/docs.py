"""Builds the documentation's site: README first, docs/, the roles' READMEs, and the reference of plugins and roles.

It needs no network. A warning, a link that leads nowhere for instance, fails it:

    python tools/docs.py
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
BUILD = ROOT / ".ansible" / "docs"
PAGES = ("*.md", "docs/**/*.md", "roles/*/README.md")
NAVIGATION = "docs/navigation.md"
CONTENTS = re.compile(r"^\.\. contents::\n(?: +:.*\n)*", re.MULTILINE)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)")


def stage(source: Path, root: Path = ROOT) -> None:
    """Lay out the pages as they are in the repository, with the files they link to, so that links hold.

    README becomes the index, the navigation is its end.
    """
    shutil.rmtree(source, ignore_errors=True)
    pages = {path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
             for pattern in PAGES for path in root.glob(pattern)}  # fmt: skip
    pages["README.md"] += f"\n{pages.pop(NAVIGATION)}"
    for name, text in pages.items():
        target = source / ("index.md" if name == "README.md" else name)
        target.parent.mkdir(parents=True, exist_ok=True)
        for link in LINK.findall(text):
            linked = os.path.normpath(Path(name).parent / link)
            if (root / linked).is_file() and linked not in pages:
                (source / linked).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(root / linked, source / linked)
        up = "../" * name.count("/")
        target.write_text(text.replace(f"]({up}README.md", f"]({up}index.md"), encoding="utf-8")


def reference(target: Path) -> None:
    """Write the pages of all plugins and roles, from the documentation that ansible-doc shows."""
    target.mkdir()
    call(
        "antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--fail-on-error",
        "--no-add-antsibull-docs-version", "--dest-dir", target, "mlops.platform",
    )  # fmt: skip
    for page in target.glob("*.rst"):  # the theme has a table of contents beside each page
        page.write_text(CONTENTS.sub("", page.read_text(encoding="utf-8")), encoding="utf-8")


def html(source: Path, site: Path) -> None:
    """Make the site of the pages; a warning is an error."""
    call("sphinx-build", "-q", "-W", "--keep-going", "-E", "-c", ROOT / "docs", source, site)


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
        html(source, site)
    except subprocess.CalledProcessError:
        return 1
    print(f"written: {(site / 'index.html').relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
