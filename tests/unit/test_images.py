"""The catalogue of images: names, hashes, order, and what is said about mistakes."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.image_build import (
    GIB,
    Builder,
    check_space,
    exclusive,
    go_version_needed,
    go_version_of,
    run_by_image_python,
)
from ansible_collections.mlops.platform.plugins.module_utils.image_registry import held, manifest_url
from ansible_collections.mlops.platform.plugins.module_utils.images import Catalogue

ROOT = Path(__file__).parents[2]
LOGIN = f"Basic {base64.b64encode(b'me:secret').decode()}"
ENTRIES: dict[str, Any] = {
    "tool": {"version": "1.2", "program": True, "go": {"stamp": {"main.version": "1.2"}}},
    "base": {"version": "9.1", "debian": {"suite": "bookworm", "packages": ["python3"]}},
    "app": {"version": "3.0", "base": "base", "python": "3.11"},
    "helper": {"version": "2", "base": "base", "go": {"module": "tool", "package": "example.org/helper"}},
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of images that fits ENTRIES."""
    files = {
        "tool": ["go.mod", "go.sum", "main.go"],
        "base": ["Containerfile"],
        "app": ["Containerfile", "requirements.txt"],
        "helper": ["Containerfile"],
    }
    for name, contents in files.items():
        (tmp_path / name).mkdir()
        for file in contents:
            (tmp_path / name / file).write_text(f"{file} of {name}")
    return tmp_path


def load(folder: Path, registry: str = "localhost:5000", mirror: str = "", **changes: Any) -> Catalogue:
    """ENTRIES with whole entries replaced by `changes`."""
    return Catalogue.load({**ENTRIES, **changes}, registry=registry, mirror=mirror, folder=folder)


def hashes(catalogue: Catalogue) -> dict[str, str]:
    return {name: catalogue.content_hash(name) for name in catalogue.images}


def changed(before: dict[str, str], after: dict[str, str]) -> set[str]:
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("app/requirements.txt", {"app"}),
        ("base/Containerfile", {"base", "app", "helper"}),
        ("tool/go.sum", {"tool", "helper"}),
        ("app/a-new-file", {"app"}),
        ("app/__pycache__/entry.pyc", set()),
        ("app/.hidden", set()),
    ],
)
def test_a_changed_file_changes_what_is_made_of_it(folder: Path, file: str, expected: set[str]) -> None:
    before = hashes(load(folder))
    (folder / file).parent.mkdir(exist_ok=True)
    (folder / file).write_text("changed")
    assert changed(before, hashes(load(folder))) == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"app": {**ENTRIES["app"], "version": "3.1"}}, {"app"}),
        ({"app": {**ENTRIES["app"], "python": "3.12"}}, {"app"}),
        ({"base": {**ENTRIES["base"], "version": "9.2"}}, {"base", "app", "helper"}),
        (
            {"base": {"version": "9.1", "debian": {"suite": "trixie", "packages": ["python3"]}}},
            {"base", "app", "helper"},
        ),
        ({"base": {**ENTRIES["base"], "source": "upstream", "upstream": "debian:12"}}, {"base", "app", "helper"}),
        ({"tool": {**ENTRIES["tool"], "go": {"stamp": {"main.version": "1.3"}}}}, {"tool"}),
        ({"tool": {**ENTRIES["tool"], "go": {"tags": ["small"]}}}, {"tool"}),
    ],
)
def test_a_changed_entry_changes_what_is_made_of_it(folder: Path, changes: dict[str, Any], expected: set[str]) -> None:
    assert changed(hashes(load(folder)), hashes(load(folder, **changes))) == expected


def test_the_hash_does_not_depend_on_where_images_are_kept(folder: Path) -> None:
    assert hashes(load(folder)) == hashes(load(folder, registry="registry.example.org/team"))


def test_names_stay_the_same_for_a_run(folder: Path) -> None:
    catalogue = load(folder)
    before = hashes(catalogue)
    (folder / "app" / "Containerfile").write_text("changed")
    assert hashes(catalogue) == before
    assert catalogue.edited("app")
    assert not catalogue.edited("base")


def test_references_of_each_source(folder: Path) -> None:
    catalogue = load(folder, registry="registry.example.org/team")
    assert catalogue.reference("app") == f"registry.example.org/team/app:3.0-{catalogue.content_hash('app')}"
    assert re.fullmatch(r"3\.0-[0-9a-f]{12}", catalogue.tag("app"))
    upstream = {"version": "3.0", "source": "upstream", "upstream": "ghcr.io/example/app:v3.0"}
    assert load(folder, app=upstream).reference("app") == "ghcr.io/example/app:v3.0"


@pytest.mark.parametrize(
    ("upstream", "expected"),
    [
        ("ghcr.io/example/app:v3.0", "mirror.lan/example/app:v3.0"),
        ("localhost/example/app:v3.0", "mirror.lan/example/app:v3.0"),
        ("registry:5000/app:v3.0", "mirror.lan/app:v3.0"),
        ("example/app:v3.0", "mirror.lan/example/app:v3.0"),
        ("app:v3.0", "mirror.lan/app:v3.0"),
    ],
)
def test_a_mirror_stands_in_for_the_registry_alone(folder: Path, upstream: str, expected: str) -> None:
    entry = {"version": "3.0", "source": "mirror", "upstream": upstream}
    assert load(folder, mirror="mirror.lan", app=entry).reference("app") == expected


def test_a_mirror_holds_a_built_image_under_its_own_name(folder: Path) -> None:
    catalogue = load(folder, mirror="mirror.lan", app={**ENTRIES["app"], "source": "mirror"})
    assert catalogue.reference("app") == f"mirror.lan/{'app'}:{catalogue.tag('app')}"


def test_a_program_has_a_path_and_no_reference(folder: Path) -> None:
    catalogue = load(folder)
    expected = f"/cache/programs/tool-{catalogue.content_hash('tool')}/tool"
    assert catalogue.locate("tool", Path("/cache")) == expected
    with pytest.raises(PlatformError, match="tool is a program for the host, not an image"):
        catalogue.reference("tool")


@pytest.mark.parametrize(
    ("name", "entry", "message"),
    [
        ("app", {}, r"platform_images\.app: missing required arguments: version"),
        ("app", "3.0", r"platform_images\.app: must be a dictionary, not '3.0'"),
        (
            "app",
            {"version": "3", "source": "docker"},
            r"platform_images\.app: value of source must be one of: built, upstream, mirror, got: docker",
        ),
        ("app", {"version": "3", "sauce": "built"}, r"platform_images\.app: sauce\. Supported parameters include: "),
        (
            "app",
            {"version": "3", "debian": {"packages": []}},
            r"platform_images\.app: missing required arguments: suite found in debian",
        ),
        ("app", {"version": "3:0"}, r"platform_images\.app: version '3:0' cannot stand in a tag"),
        ("app", {"version": "3", "source": "upstream"}, r"platform_images\.app: source is 'upstream' but there is no"),
        ("app", {"version": "3", "source": "mirror"}, r"platform_images\.app: .* platform_images_mirror is empty"),
        ("app", {"version": "3", "base": "later"}, r"platform_images\.app: base 'later' is not among .*: tool, base$"),
        ("app", {"version": "3", "base": "tool"}, r"platform_images\.app: base 'tool' is not among"),
        ("app", {"version": "3", "go": {}}, r"platform_images\.app: go\.module 'app' is no folder with a go\.mod"),
        ("base", {"version": "3", "python": "3.11"}, r"platform_images\.base: python is given but .*/base has no req"),
        ("tool", {"version": "3", "program": True}, r"platform_images\.tool: a program needs go:"),
        ("new", {"version": "3"}, r"platform_images\.new: .*/new has no Containerfile"),
        ("My_App", {"version": "3"}, r"platform_images\.My_App: a name has only lower-case letters"),
    ],
)
def test_a_bad_entry_is_named_with_what_is_allowed(folder: Path, name: str, entry: Any, message: str) -> None:
    with pytest.raises(PlatformError) as raised:
        load(folder, **{name: entry})
    first_line = str(raised.value).splitlines()[0]
    assert re.search(message, first_line), first_line


def test_an_unknown_name_is_answered_with_the_known_ones(folder: Path) -> None:
    with pytest.raises(PlatformError, match="platform_images has no 'apq'; it has: tool, base, app, helper"):
        load(folder).plan(["apq"])


@pytest.mark.parametrize(
    ("names", "present", "expected"),
    [
        (["app"], [], ["base", "app"]),
        (["helper", "app", "tool"], [], ["tool", "base", "app", "helper"]),
        (["app"], ["base"], ["app"]),
        (["app"], ["app"], []),
        (["app", "helper"], ["app"], ["base", "helper"]),
        ([], [], []),
    ],
)
def test_what_is_built_in_which_order(folder: Path, names: list[str], present: list[str], expected: list[str]) -> None:
    assert [image.name for image in load(folder).plan(names, present)] == expected


def test_only_what_is_to_be_built_is_planned(folder: Path) -> None:
    upstream = {"version": "3.0", "source": "upstream", "upstream": "ghcr.io/example/app:v3.0"}
    assert load(folder, app=upstream).plan(["app"]) == []


def test_versions_of_go() -> None:
    assert go_version_needed("module example\n\ngo 1.26.4\n\nrequire x v1\n") == (1, 26, 4)
    assert go_version_of("go version go1.26.8 linux/amd64") == (1, 26, 8)
    assert go_version_of("go version go1.27 linux/amd64") > go_version_needed("go 1.26.4\n")
    assert go_version_of("go version devel +abc linux/amd64") == ()


@pytest.mark.parametrize(
    ("installed", "expected"),
    [
        ("#!/home/me/venv/bin/python\nimport app\n", "#!/usr/bin/python3\nimport app\n"),
        ("#!/bin/sh\nexec app\n", "#!/bin/sh\nexec app\n"),
    ],
)
def test_scripts_run_by_the_python_of_the_image(tmp_path: Path, installed: str, expected: str) -> None:
    script, cached = tmp_path / "script", tmp_path / "cached"
    cached.write_text(installed)
    cached.chmod(0o755)
    script.hardlink_to(cached)
    run_by_image_python(script)
    assert script.read_text() == expected
    assert script.stat().st_mode & 0o111
    assert cached.read_text() == installed


def test_too_little_space_is_said_in_numbers(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = type("Usage", (), {"free": 2.5 * GIB})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with pytest.raises(PlatformError, match=r"Building 2 images needs \d+ GiB free in .*, 2.5 GiB are"):
        check_space(folder, load(folder).plan(["app"]))


def test_a_lock_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    order: list[str] = []
    with exclusive(tmp_path / "lock", lambda: None):

        def second() -> None:
            with exclusive(tmp_path / "lock", lambda: said.append("waiting")):
                order.append("second")

        thread = threading.Thread(target=second)
        thread.start()
        while not said:
            pass
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


class Registry(BaseHTTPRequestHandler):
    """A registry: app:1 is for all, basic:1 for me:secret, token:1 for who shows the token that me:secret gets."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self) -> None:
        shown = self.headers.get("Authorization", "")
        host = self.headers["Host"]
        if self.path == "/v2/app/manifests/1":
            self.answer(200)
        elif self.path == "/v2/basic/manifests/1":
            self.answer(200 if shown == LOGIN else 401, WWW_Authenticate='Basic realm="registry"')
        elif self.path == "/v2/token/manifests/1":
            challenge = f'Bearer realm="http://{host}/token",service="registry",scope="repository:token:pull"'
            self.answer(200 if shown == "Bearer abc" else 401, WWW_Authenticate=challenge)
        else:
            self.answer(404)

    def do_GET(self) -> None:
        good = self.path == "/token?service=registry&scope=repository%3Atoken%3Apull"
        allowed = good and self.headers.get("Authorization") == LOGIN
        self.answer(200 if allowed else 401, b'{"token": "abc"}')

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def registry() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Registry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_what_a_registry_holds(registry: str) -> None:
    assert held([f"{registry}/app:1", f"{registry}/app:2"]) == {f"{registry}/app:1"}
    with pytest.raises(PlatformError, match=r"127.0.0.1:1/app:1 does not answer"):
        held(["127.0.0.1:1/app:1"])


@pytest.mark.parametrize("name", ["basic", "token"])
def test_a_registry_that_wants_a_login(
    registry: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = tmp_path / "auth.json"
    monkeypatch.setenv("REGISTRY_AUTH_FILE", str(logins))
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(PlatformError, match=rf"{name}:1 answered 401 .*log in with 'buildah login'"):
        held([f"{registry}/{name}:1"])
    logins.write_text(json.dumps({"auths": {registry: {"auth": LOGIN.removeprefix("Basic ")}}}))
    assert held([f"{registry}/{name}:1"]) == {f"{registry}/{name}:1"}


def test_registries_elsewhere_are_asked_over_https() -> None:
    assert manifest_url("registry.lan:5000/team/app:1") == "https://registry.lan:5000/v2/team/app/manifests/1"
    assert manifest_url("localhost:5000/app:1") == "http://localhost:5000/v2/app/manifests/1"


def test_nothing_missing_is_nothing_done(folder: Path, tmp_path: Path, registry: str) -> None:
    app = {"version": "1", "source": "upstream", "upstream": f"{registry}/app:1"}
    builder = Builder(load(folder, registry=registry, app=app), tmp_path / "cache", print, go_version="1.26.4")
    assert builder.build(["app"]) == []
    assert not (tmp_path / "cache").exists()


class Machine:
    """Stands in for the programs that build: remembers what they were asked, makes what they would make."""

    def __init__(self, failing: str = "") -> None:
        self.asked: list[str] = []
        self.failing = failing

    def run(self, command: list[Any], *, what: str, **_: Any) -> str:
        self.asked.append(what)
        if what == self.failing:
            raise PlatformError(f"{what} failed")
        if "-o" in command:
            command[command.index("-o") + 1].write_text("a program")
        return "go version go1.99 linux/amd64"


@pytest.fixture
def build(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Builder]:
    """A builder of ENTRIES on a given machine, with an empty registry."""
    (folder / "tool" / "go.mod").write_text("module tool\n\ngo 1.26\n")
    module = "ansible_collections.mlops.platform.plugins.module_utils.image_build"

    def make(machine: Machine, **changes: Any) -> Builder:
        monkeypatch.setattr(f"{module}.run", machine.run)
        monkeypatch.setattr(f"{module}.held", lambda references: set())
        monkeypatch.setattr(f"{module}.check_space", lambda folder, plan: None)
        monkeypatch.setattr(f"{module}.shutil.which", lambda program, path=None: f"/usr/bin/{program}")
        monkeypatch.setattr("os.geteuid", lambda: 0)
        builder = Builder(load(folder, **changes), tmp_path / "cache", lines.append, go_version="1.26.4")
        (builder.go_caches / "mod").mkdir(parents=True)
        return builder

    lines: list[str] = []
    return make


def test_all_is_built_and_only_results_are_kept(build: Callable[..., Builder]) -> None:
    machine = Machine()
    builder = build(machine)
    assert builder.build(["app", "tool", "helper"]) == ["tool", "base", "app", "helper"]
    stored = [what for what in machine.asked if what.startswith("buildah push")]
    assert sorted(stored) == ["buildah push of app", "buildah push of base", "buildah push of helper"]
    assert stored[0] == "buildah push of base"
    assert builder.catalogue.program_path("tool", builder.cache).read_text() == "a program"
    assert set(builder.seconds) == {"tool", "base", "app", "helper"}
    assert not builder.left_over()


def test_a_program_of_another_image_s_module_needs_no_folder(build: Callable[..., Builder]) -> None:
    builder = build(Machine(), gadget={"version": "1.2", "program": True, "go": {"module": "tool"}})
    assert builder.build(["gadget"]) == ["gadget"]
    assert builder.catalogue.program_path("gadget", builder.cache).exists()


def test_compiled_packages_are_kept_for_programs_of_other_modules(
    build: Callable[..., Builder], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "gadget").mkdir()
    for file in ("go.mod", "Containerfile"):
        (folder / "gadget" / file).write_text("module gadget\n\ngo 1.26\n")
    machine = Machine()
    entry = {"version": "4", "base": "base", "go": {}}
    builder = build(machine, gadget=entry)
    seen: dict[str, list[str]] = {}
    run = machine.run

    def compile_it(command: list[Any], *, what: str, **options: Any) -> str:
        if what.startswith("Compiling"):
            builder.go_caches.mkdir(exist_ok=True)
            seen[what] = sorted(path.name for path in builder.go_caches.iterdir())
            (builder.go_caches / what).touch()
        return run(command, what=what, **options)

    monkeypatch.setattr("ansible_collections.mlops.platform.plugins.module_utils.image_build.run", compile_it)
    builder.build(["tool", "helper", "gadget"])
    assert seen["Compiling gadget"] == ["Compiling helper", "Compiling tool", "mod"]
    assert not builder.go_caches.exists()


def test_the_first_failure_is_told_and_the_rest_is_not_begun(build: Callable[..., Builder]) -> None:
    machine = Machine(failing="Installing the Debian packages of base")
    builder = build(machine)
    with pytest.raises(PlatformError, match="Installing the Debian packages of base failed"):
        builder.build(["app", "helper"])
    assert not [what for what in machine.asked if what.startswith("buildah")]
    assert not builder.work.exists()
    assert builder.go_caches.exists(), "what was compiled is there for the next run"


def test_what_is_edited_while_it_is_built_is_not_stored(
    build: Callable[..., Builder], monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    builder = build(machine)
    compile_it = machine.run

    def edit(command: list[Any], **options: Any) -> str:
        (builder.catalogue.folder / "tool" / "main.go").write_text("changed")
        return compile_it(command, **options)

    monkeypatch.setattr("ansible_collections.mlops.platform.plugins.module_utils.image_build.run", edit)
    with pytest.raises(PlatformError, match="images/tool was edited while tool was built: run again"):
        builder.build(["tool"])
    assert not builder.catalogue.program_path("tool", builder.cache).exists()


def test_what_a_killed_run_left_is_removed(build: Callable[..., Builder]) -> None:
    builder = build(Machine())
    (builder.work / "app").mkdir(parents=True)
    (builder.work / "app" / "half").write_text("")
    builder.build(["tool"])
    assert not builder.left_over()


def test_postgresql_is_the_pin_in_the_folders_that_are_trimmed() -> None:
    version = yaml.safe_load((ROOT / "group_vars/all/versions.yml").read_text())["platform_versions"]["postgresql"]
    assert f"/usr/lib/postgresql/{version}/" in (ROOT / "images/debian-postgresql/Containerfile").read_text()


def test_the_lookup_reads_the_catalogue_once_for_the_variables_of_a_task(monkeypatch: pytest.MonkeyPatch) -> None:
    from ansible.parsing.dataloader import DataLoader
    from ansible.template import Templar, trust_as_template

    loads: list[object] = []
    load_catalogue = Catalogue.load

    def count(*entries: Any, **options: Any) -> Catalogue:
        loads.append(entries)
        return load_catalogue(*entries, **options)

    monkeypatch.setattr(Catalogue, "load", count)

    def ask(variables: dict[str, Any], *names: str) -> list[str]:
        templar = Templar(DataLoader(), variables=variables)
        return [
            templar.template(trust_as_template(f"{{{{ lookup('mlops.platform.image', '{name}') }}}}")) for name in names
        ]

    settings = {
        "platform_image_registry": "registry.example:5000",
        "platform_images_mirror": "",
        "platform_cache_dir": "/c",
    }
    first, second = (
        {
            **settings,
            "platform_images": {
                name: {"version": version, "go": {"module": "kubernetes"}} for name in ("pause", "busybox")
            },
        }
        for version in ("1", "2")
    )
    assert [re.sub("-[0-9a-f]{12}$", "", found) for found in ask(first, "pause", "busybox", "pause")] == [
        "registry.example:5000/pause:1", "registry.example:5000/busybox:1", "registry.example:5000/pause:1",
    ]  # fmt: skip
    assert len(loads) == 1
    assert ask(second, "pause")[0].startswith("registry.example:5000/pause:2-")
    assert len(loads) == 2
