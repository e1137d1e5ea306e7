"""Go modules: what a lock pins, where it is looked for, and that nothing else is taken for it."""

from __future__ import annotations

import base64
import hashlib
import io
from pathlib import Path
from zipfile import ZipFile

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import go_modules
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.go_modules import Pin, archive, content_hash, pin, proxies
from go_proxy import Machine

IMAGES = Path(__file__).resolve().parents[2] / "images"
NAME, VERSION = "example.org/Some/web", "v1.2.0"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine with an empty module cache, that knows one module."""
    made = Machine(tmp_path, monkeypatch)
    made.publish(NAME, VERSION, {"a.yaml": "a: 1\n", "b/c.txt": "c\n"})
    return made


def test_a_pin_is_what_go_mod_and_go_sum_say() -> None:
    found = pin("github.com/minio/minio", "minio", IMAGES)
    assert found.version.startswith("v0.0.0-")
    assert len(base64.b64decode(found.hash.removeprefix("h1:"))) == 32
    assert pin("k8s.io/api", "kubernetes", IMAGES).version == "v0.36.3", "a replacement holds"


@pytest.mark.parametrize(
    ("module", "lock", "message"),
    [
        ("k8s.io/api", "kubernets", "lock is 'kubernets', which has no go.mod in .*; there are kubernetes, minio"),
        ("example.org/other", "minio", "go.mod does not require it"),
        ("example.org/bare", "own", "go.sum has no hash of example.org/bare v1.0.0"),
    ],
)
def test_what_is_not_pinned_is_refused(module: str, lock: str, message: str, tmp_path: Path) -> None:
    for name in ("kubernetes", "minio"):
        (tmp_path / name).symlink_to(IMAGES / name)
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "go.mod").write_text("module own\n\nrequire example.org/bare v1.0.0 // indirect\n")
    (tmp_path / "own" / "go.sum").write_text("example.org/bare v1.0.0/go.mod h1:abc=\n")
    with pytest.raises(PlatformError, match=message):
        pin(module, lock, tmp_path)


def test_the_hash_is_go_s() -> None:
    """As `sha256sum` of all files, sorted, and of that list once more."""
    file = io.BytesIO()
    with ZipFile(file, "w") as made:
        made.writestr("m@v1/b", "two")
        made.writestr("m@v1/a", "one")
    lines = "".join(
        f"{hashlib.sha256(text).hexdigest()}  m@v1/{name}\n" for name, text in (("a", b"one"), ("b", b"two"))
    )
    assert content_hash(ZipFile(file)) == "h1:" + base64.b64encode(hashlib.sha256(lines.encode()).digest()).decode()


def test_capital_letters_are_escaped() -> None:
    assert (
        Pin("github.com/BurntSushi/toml", "v1.0.0-RC1", "").path == "github.com/!burnt!sushi/toml/@v/v1.0.0-!r!c1.zip"
    )


def test_a_module_comes_from_go_s_cache_without_a_proxy(machine: Machine) -> None:
    machine.proxy("off")
    machine.to_cache(NAME, VERSION)
    with archive(machine.pin(NAME), machine.folder, machine.said.append) as found:
        assert found.read(f"{NAME}@{VERSION}/a.yaml") == b"a: 1\n"
    assert machine.said == []


def test_a_broken_copy_in_go_s_cache_is_passed_over(machine: Machine) -> None:
    machine.to_cache(NAME, VERSION).write_bytes(b"PK, but not for long")
    with archive(machine.pin(NAME), machine.folder, machine.said.append) as found:
        assert found.read(f"{NAME}@{VERSION}/a.yaml") == b"a: 1\n"
    assert machine.said == [f"downloads {NAME}@{VERSION}"]


@pytest.mark.parametrize(
    "list_of_proxies", ["file:///nowhere,{}", "file:///nowhere|{}", "http://127.0.0.1:9|{}", "{},direct"]
)
def test_the_next_proxy_is_asked(machine: Machine, list_of_proxies: str) -> None:
    machine.proxy(list_of_proxies.format(f"file://{machine.published}"))
    with archive(machine.pin(NAME), machine.folder, machine.said.append) as found:
        assert found.namelist()


@pytest.mark.parametrize(
    ("list_of_proxies", "told"),
    [
        ("file:///nowhere,direct", ["file:///nowhere/", "direct: modules are taken from proxies"]),
        ("http://me:secret@127.0.0.1:9,{}", ["http://127.0.0.1:9/example.org/!some/web/@v/v1.2.0.zip: [Errno 111]"]),
        ("off,{}", ["GOPROXY off: nothing is downloaded"]),
    ],
)
def test_a_module_that_cannot_be_had_says_what_was_tried(
    machine: Machine, list_of_proxies: str, told: list[str]
) -> None:
    machine.proxy(list_of_proxies.format(f"file://{machine.published}"))
    with pytest.raises(PlatformError) as caught, archive(machine.pin(NAME), machine.folder, machine.said.append):
        pass
    message = str(caught.value)
    assert f"the Go module {NAME}@{VERSION} is needed and cannot be had" in message
    assert f"{machine.go}/cache/download/example.org/!some/web/@v/v1.2.0.zip: is not there" in message
    assert all(line in message for line in told), message
    assert "secret" not in message
    assert str(machine.published) not in message, "a comma goes on after 404 alone"


def test_what_is_not_what_was_pinned_is_refused(machine: Machine) -> None:
    expected = machine.pin(NAME)
    machine.publish(NAME, VERSION, {"a.yaml": "a: 2\n"})
    with (
        pytest.raises(PlatformError, match=rf"gave another {NAME}@{VERSION} than the one that go.sum pins as h1:"),
        archive(expected, machine.folder, machine.said.append),
    ):
        pass


def test_settings_come_from_the_environment_before_go_s_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GOPROXY", raising=False)
    monkeypatch.setenv("GOENV", str(tmp_path / "env"))
    assert proxies() == [("https://proxy.golang.org", False), ("direct", False)]
    (tmp_path / "env").write_text("GOFLAGS=-x\nGOPROXY=https://a.example.org/go/|https://b.example.org\n")
    assert proxies() == [("https://a.example.org/go", True), ("https://b.example.org", False)]
    monkeypatch.setenv("GOPROXY", "off")
    assert proxies() == [("off", False)]
    monkeypatch.delenv("GOMODCACHE", raising=False)
    monkeypatch.setenv("GOPATH", "/first:/second")
    assert go_modules.module_caches(Path("/cache"))[0] == Path("/first/pkg/mod")
