# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""PostgreSQL: a transaction as the application's own user, and settings as they were asked for."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg2
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    Endpoint,
    External,
    expect,
)
from ansible_collections.mlops.platform.plugins.module_utils.database import VERIFYING

if TYPE_CHECKING:
    from psycopg2.extensions import connection


@contextlib.contextmanager
def connect(
    access: Access, service: Endpoint, credentials: str, database: str, parameters: Mapping[str, str] | None = None
) -> Iterator[connection]:
    """A connection as the user of the Secret `credentials` (keys username and password); closed at the end.

    Of a database outside the cluster the Secret has `host` and `port` too; `parameters` are libpq's.
    """
    username, password = access.secret(credentials, "username", "password")
    session = psycopg2.connect(
        user=username, password=password, **arguments(access, service, credentials, database, parameters or {})
    )
    try:
        yield session
    finally:
        session.close()


def arguments(
    access: Access, service: Endpoint, credentials: str, database: str, parameters: Mapping[str, str]
) -> dict[str, Any]:
    """All arguments of a connection but the login."""
    place: dict[str, Any]
    if isinstance(service, External):
        hosts, ports = (item.split(",") for item in access.secret(credentials, "host", "port"))
        ports = ports * len(hosts) if len(ports) == 1 else ports
        reached = [access.reached(host, int(port)) for host, port in zip(hosts, ports, strict=True)]
        place = {"host": ",".join(hosts), "port": ",".join(str(port) for _, port in reached)}
        if [host for host, _ in reached] != hosts:
            # The name stays, which the server's certificate has; the address is where it is reached.
            place["hostaddr"] = ",".join("" if at == host else at for host, (at, _) in zip(hosts, reached, strict=True))
    else:
        place = dict(zip(("host", "port"), access.address(service), strict=True))
    found = {
        **place,
        "dbname": database,
        "connect_timeout": REQUEST_SECONDS,
        "application_name": "mlops.platform",
        **parameters,
    }
    found["options"] = f"{parameters.get('options', '')} -c statement_timeout={REQUEST_SECONDS}s".strip()
    if parameters.get("sslmode") in VERIFYING:
        found["sslrootcert"] = access.ca_file
    return found


@dataclass(frozen=True)
class SqlTransactionCheck(Check):
    """Create a table, insert, select and compare as the consumer, then roll all of it back."""

    database: str
    credentials: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.service}/{self.database}"

    def run(self, access: Access) -> tuple[object, object]:
        written = secrets.token_hex(16)
        table = f"mlops_platform_validation_{secrets.token_hex(4)}"
        opened = connect(access, self.service, self.credentials, self.database, self.parameters)
        with opened as session, session.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, value text NOT NULL)")
            cursor.execute(f"INSERT INTO {table} (value) VALUES (%s)", (written,))  # noqa: S608  (the name is made here)
            cursor.execute(f"SELECT value FROM {table}")  # noqa: S608
            read = cursor.fetchall()
            session.rollback()
            expect(read, [(written,)], "the row read is not the row written")
            cursor.execute("SELECT to_regclass(%s)", (table,))
            expect(cursor.fetchall(), [(None,)], "the table is still there after the rollback")
        return "row read back, rolled back", "row read back, rolled back"


@dataclass(frozen=True)
class SqlExtensionsCheck(Check):
    """The extensions that the database must have are installed, and answer."""

    database: str
    credentials: str
    extensions: tuple[str, ...] = ()

    @property
    def target(self) -> str:
        return f"{self.service}/{self.database}"

    def run(self, access: Access) -> tuple[object, object]:
        with connect(access, self.service, self.credentials, self.database) as session, session.cursor() as cursor:
            cursor.execute("SELECT extname FROM pg_extension")
            present = {row[0] for row in cursor.fetchall()}
            missing = [name for name in self.extensions if name not in present]
            expect(missing, [], f"extensions that are missing: {', '.join(missing)}")
            if "uuid-ossp" in self.extensions:
                cursor.execute("SELECT length(uuid_generate_v4()::text)")
                expect(cursor.fetchall(), [(36,)], "uuid_generate_v4() does not give a UUID")
            if "pg_stat_statements" in self.extensions:
                cursor.execute("SELECT count(*) > 0 FROM pg_stat_statements")
                expect(cursor.fetchall(), [(True,)], "pg_stat_statements has counted no statement")
        return sorted(self.extensions), sorted(self.extensions)


@dataclass(frozen=True)
class SqlSettingsCheck(Check):
    """The server runs with the settings that were asked for: each stands in its file and none waits for a restart."""

    database: str
    credentials: str
    settings: Mapping[str, object] = field(default_factory=dict)

    def run(self, access: Access) -> tuple[object, object]:
        expected = {name: str(value) for name, value in self.settings.items()}
        with connect(access, self.service, self.credentials, self.database) as session, session.cursor() as cursor:
            cursor.execute(
                "SELECT f.name, f.setting, s.pending_restart FROM pg_file_settings f JOIN pg_settings s USING (name) "
                "WHERE f.name = ANY(%s) ORDER BY f.seqno",  # the last one counts: that of ALTER SYSTEM
                (list(expected),),
            )
            observed = {name: f"{value} (waits for a restart)" if late else value for name, value, late in cursor}
        wrong = {name: observed.get(name) for name, value in expected.items() if observed.get(name) != value}
        message = "; ".join(f"{name} is {value}, not {expected[name]}" for name, value in wrong.items())
        expect(wrong, {name: expected[name] for name in wrong}, message)
        return observed, expected


@dataclass(frozen=True)
class SqlRefusedCheck(Check):
    """A login with a wrong password is refused, and so is one with none."""

    database: str
    credentials: str
    parameters: Mapping[str, str] = field(default_factory=dict)

    def run(self, access: Access) -> tuple[object, object]:
        (username,) = access.secret(self.credentials, "username")
        place = arguments(access, self.service, self.credentials, self.database, self.parameters)
        observed: dict[str, str] = {}
        for name, password in (("wrong password", secrets.token_hex(16)), ("no password", "")):
            try:
                psycopg2.connect(user=username, password=password, **place).close()
                observed[name] = "let in"
            except psycopg2.OperationalError as error:
                text = str(error)
                refused = "authentication failed" in text or "no password supplied" in text
                observed[name] = "refused" if refused else text.strip()
        expected = dict.fromkeys(observed, "refused")
        expect(observed, expected, f"a login that must be refused was not: {observed}")
        return observed, expected
