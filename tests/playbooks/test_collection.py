"""The collection as a user installs it: built, installed elsewhere, used by its full names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
TOP = {
    "CHANGELOG.md", "FILES.json", "LICENSE", "MANIFEST.json", "README.md", "SECURITY.md", "changelogs", "docs",
    "examples", "group_vars", "images", "inventories", "meta", "playbooks", "plugins", "requirements.yml", "roles",
    "templates",
}  # fmt: skip


def call(*command: str | Path, cwd: Path, status: int = 0, **variables: str) -> str:
    """The output of a program of the environment, run without this checkout's configuration, and its `status`."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "PLATFORM_"))}
    environment = {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "KUBECONFIG": str(cwd / "none"), **variables}
    words: list[str | Path] = [BIN / command[0], *command[1:]]
    done = subprocess.run(
        words, cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built collection."""
    folder = tmp_path_factory.mktemp("built")
    call("ansible-galaxy", "collection", "build", ROOT, "--output-path", folder, cwd=folder)
    (found,) = folder.glob("mlops-platform-*.tar.gz")
    return found


def test_nothing_else_is_in_the_archive(archive: Path) -> None:
    with tarfile.open(archive) as content:
        names = content.getnames()
    assert {name.partition("/")[0] for name in names} <= TOP
    assert [name for name in names if "__pycache__" in name or "/." in name] == []


@pytest.fixture(scope="module")
def collections(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the collection is installed."""
    folder = tmp_path_factory.mktemp("collections")
    call("ansible-galaxy", "collection", "install", "--offline", "-p", folder, archive, cwd=folder)
    return folder


def test_it_reports_from_where_it_is_installed(collections: Path, tmp_path: Path) -> None:
    shutil.copytree(ROOT / "inventories" / "existing", tmp_path / "existing")
    reports = tmp_path / "reports"
    settings = {"CALLBACKS_ENABLED": "mlops.platform.report", "FORKS": "8", "COLLECTIONS_PATH": str(collections)}
    variables = {f"ANSIBLE_{name}": value for name, value in settings.items()}
    variables["MLOPS_PLATFORM_REPORTS"] = str(reports)
    call("ansible-playbook", "mlops.platform.validate", "-i", "existing", cwd=tmp_path, status=2, **variables)
    (folder,) = {path.resolve() for path in reports.iterdir()}
    version = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["controller"]["collection"] == version
    assert f"mlops.platform {version}" in (folder / "report.html").read_text(encoding="utf-8")
    assert "<testsuites" in (folder / "junit.xml").read_text(encoding="utf-8")


def test_it_renders_what_the_checkout_renders(collections: Path, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(ROOT / "inventories" / "local", project / "local")
    for name, path in (("installed", collections), ("checkout", ROOT / ".collections")):
        target = f"component_render_directory={tmp_path / name}"
        command = ("ansible-playbook", "mlops.platform.render", "-i", "local", "-e", target)
        call(*command, cwd=project, ANSIBLE_COLLECTIONS_PATH=str(path))
    rendered = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "installed").iterdir()}
    inventory = yaml.safe_load((project / "local" / "hosts.yml").read_text(encoding="utf-8"))
    components = inventory["platform"]["children"]["components"]["hosts"]
    assert {name.partition(".")[0].removesuffix("-monitoring") for name in rendered} == set(components)
    for name, text in rendered.items():
        assert text == (tmp_path / "checkout" / name).read_text(encoding="utf-8")
