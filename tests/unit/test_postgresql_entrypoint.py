"""How the PostgreSQL image starts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from programs import load_program


@pytest.fixture
def entrypoint() -> ModuleType:
    return load_program("images/postgresql/entrypoint.py")


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("s3cret")
    return path


def test_the_server_takes_its_settings_from_the_config_folder(entrypoint: ModuleType) -> None:
    command = entrypoint.server_command(Path("/data/pg"), Path("/etc/postgresql"), ["-c", "port=5433"])
    assert command[:3] == ["postgres", "-D", "/data/pg"]
    assert "config_file=/etc/postgresql/postgresql.conf" in command
    assert "hba_file=/etc/postgresql/pg_hba.conf" in command
    assert command[-2:] == ["-c", "port=5433"]


def test_a_new_cluster_has_passwords_and_checksums(entrypoint: ModuleType) -> None:
    command = entrypoint.initdb_command(Path("/data/pg.new"), Path("/secret/password"))
    assert {"--auth=scram-sha-256", "--pwfile=/secret/password", "--data-checksums"} <= set(command)


def test_the_password_is_no_argument(entrypoint: ModuleType, password_file: Path) -> None:
    assert "s3cret" not in " ".join(entrypoint.initdb_command(Path("/data/pg.new"), password_file))


def test_what_is_not_a_cluster_is_left_alone(entrypoint: ModuleType, tmp_path: Path, password_file: Path) -> None:
    environment = {"POSTGRES_PASSWORD_FILE": str(password_file)}
    data = tmp_path / "pgdata"
    assert entrypoint.problem(data, environment) is None
    data.mkdir()
    assert entrypoint.problem(data, environment) is None
    (data / "precious").write_text("")
    assert "is not empty" in entrypoint.problem(data, environment)


@pytest.mark.parametrize(("content", "said"), [(None, "No such file"), ("\n", "is empty")])
def test_a_password_is_needed(entrypoint: ModuleType, tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "password"
    if content is not None:
        path.write_text(content)
    assert said in entrypoint.problem(tmp_path / "pgdata", {"POSTGRES_PASSWORD_FILE": str(path)})
    assert "POSTGRES_PASSWORD_FILE must name" in entrypoint.problem(tmp_path / "pgdata", {})


def test_a_killed_start_is_made_good(
    entrypoint: ModuleType, tmp_path: Path, password_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "volume" / "pgdata"
    half = data.with_name("pgdata.new")
    half.mkdir(parents=True)
    (half / "half-made").write_text("")

    def initdb(command: list[str], **_: Any) -> None:
        folder = Path(command[1].partition("=")[2])
        assert not folder.exists()
        folder.mkdir()
        (folder / "PG_VERSION").write_text("17\n")

    monkeypatch.setattr(subprocess, "run", initdb)
    entrypoint.make_cluster(data, password_file)
    assert [path.name for path in data.iterdir()] == ["PG_VERSION"]
    assert not half.exists()
