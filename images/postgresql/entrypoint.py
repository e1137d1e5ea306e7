"""Starts PostgreSQL, after making the database cluster where there is none yet.

PGDATA               the folder of the database cluster; the folder above it must be writable
POSTGRES_PASSWORD_FILE  holds the superuser's password, needed for the first start only
POSTGRES_CONFIG_DIR  holds postgresql.conf and pg_hba.conf

A cluster is made beside PGDATA and renamed into place when it is whole and on disk, so that a start
that is killed is made good by the next one. Arguments are handed to the server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path


def initdb_command(folder: Path, password_file: Path) -> list[str]:
    """The command that makes a new database cluster in `folder`. It ends with everything on disk."""
    return [
        "initdb",
        f"--pgdata={folder}",
        "--username=postgres",
        f"--pwfile={password_file}",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C.UTF-8",
        "--data-checksums",
    ]


def server_command(data: Path, config: Path, arguments: Sequence[str]) -> list[str]:
    """The command that serves `data` with the files of `config`."""
    settings = [f"config_file={config / 'postgresql.conf'}", f"hba_file={config / 'pg_hba.conf'}"]
    return ["postgres", "-D", str(data), *(word for setting in settings for word in ("-c", setting)), *arguments]


def problem(data: Path, environment: Mapping[str, str]) -> str | None:
    """Why no database cluster can be made in `data`, if so."""
    if data.exists() and any(data.iterdir()):
        return f"{data} is not empty, but holds no database cluster: it is left alone"
    password_file = environment.get("POSTGRES_PASSWORD_FILE", "")
    if not password_file:
        return "POSTGRES_PASSWORD_FILE must name the file with the superuser's password"
    try:
        if not Path(password_file).read_text().strip():
            return f"the password in {password_file} is empty"
    except OSError as error:
        return f"POSTGRES_PASSWORD_FILE: {error}"
    return None


def make_cluster(data: Path, password_file: Path) -> None:
    """Make a database cluster that appears in `data` whole."""
    fresh = data.with_name(f"{data.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    data.parent.mkdir(parents=True, exist_ok=True)
    subprocess.run(initdb_command(fresh, password_file), check=True)
    fresh.rename(data)
    parent = os.open(data.parent, os.O_RDONLY)
    os.fsync(parent)
    os.close(parent)


def main() -> None:
    """Make the cluster if need be, then become the server."""
    data = Path(os.environ.get("PGDATA", "/var/lib/postgresql/data/pgdata"))
    config = Path(os.environ.get("POSTGRES_CONFIG_DIR", "/etc/postgresql"))
    if not (data / "PG_VERSION").exists():
        if found := problem(data, os.environ):
            sys.exit(found)
        make_cluster(data, Path(os.environ["POSTGRES_PASSWORD_FILE"]))
    command = server_command(data, config, sys.argv[1:])
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
