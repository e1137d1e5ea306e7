"""The documentation's site: it is built without a warning, and a link that leads nowhere stops it."""

from __future__ import annotations

import subprocess
from contextlib import nullcontext
from pathlib import Path

import pytest
from programs import load_program

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / ".ansible" / "docs" / "site"
docs = load_program("tools/docs.py")


def test_the_site_has_every_page() -> None:
    assert docs.main() == 0
    pages = {path.relative_to(SITE).as_posix() for path in SITE.rglob("*.html")}
    wanted = {f"docs/{path.stem}.html" for path in (ROOT / "docs").glob("*.md") if path.stem != "navigation"}
    wanted |= {f"roles/{path.name}/README.html" for path in (ROOT / "roles").iterdir()}
    wanted |= {f"reference/{path.stem}_module.html" for path in (ROOT / "plugins" / "modules").glob("[a-z]*.py")}
    for kind in ("callback", "filter", "lookup"):
        wanted |= {f"reference/{path.stem}_{kind}.html" for path in (ROOT / "plugins" / kind).glob("[a-z]*.py")}
    wanted |= {f"reference/{path.name}_role.html" for path in (ROOT / "roles").iterdir()}
    assert wanted - pages == set()
    assert not [path for path in SITE.rglob("*.html") if "ERROR:" in path.read_text(encoding="utf-8")]
    assert "<title>mlops.platform" in (SITE / "index.html").read_text(encoding="utf-8")


NAVIGATION = """```{toctree}
:glob:

/docs/*
```
"""


@pytest.mark.parametrize(
    ("text", "fails"),
    [
        ("[up](../README.md), [code](../run.py)", False),
        ("[nothing](nothing.md)", True),
        ("[nothing](page.md#nothing)", True),
    ],
)
def test_a_link_that_leads_nowhere_stops_it(tmp_path: Path, text: str, fails: bool) -> None:
    project, source = tmp_path / "project", tmp_path / "source"
    (project / "docs").mkdir(parents=True)
    for name, content in (("README.md", "# It\n"), ("docs/navigation.md", NAVIGATION), ("run.py", ""),
                          ("docs/page.md", f"# Page\n\n{text}\n")):  # fmt: skip
        (project / name).write_text(content, encoding="utf-8")
    docs.stage(source, project)
    expected = pytest.raises(subprocess.CalledProcessError) if fails else nullcontext()
    with expected:
        docs.html(source, tmp_path / "site")
