"""PostgreSQL: a transaction as the application's own user, and settings as they were asked for."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg2
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    Service,
    expect,
)

if TYPE_CHECKING:
    from psycopg2.extensions import connection


@contextlib.contextmanager
def connect(access: Access, service: Service, credentials: str, database: str) -> Iterator[connection]:
    """A connection as the user of the Secret `credentials` (keys username and password); closed at the end."""
    username, password = access.secret(credentials, "username", "password")
    host, port = access.address(service)
    session = psycopg2.connect(
        host=host,
        port=port,
        user=username,
        password=password,
        dbname=database,
        connect_timeout=REQUEST_SECONDS,
        options=f"-c statement_timeout={REQUEST_SECONDS}s",
        application_name="mlops.platform",
    )
    try:
        yield session
    finally:
        session.close()


@dataclass(frozen=True)
class SqlTransactionCheck(Check):
    """Create a table, insert, select and compare as the consumer, then roll all of it back."""

    database: str
    credentials: str

    @property
    def target(self) -> str:
        return f"{self.service}/{self.database}"

    def run(self, access: Access) -> tuple[object, object]:
        written = secrets.token_hex(16)
        table = f"mlops_platform_validation_{secrets.token_hex(4)}"
        with connect(access, self.service, self.credentials, self.database) as session, session.cursor() as cursor:
            cursor.execute(f"CREATE TABLE {table} (id serial PRIMARY KEY, value text NOT NULL)")
            cursor.execute(f"INSERT INTO {table} (value) VALUES (%s)", (written,))
            cursor.execute(f"SELECT value FROM {table}")
            read = cursor.fetchall()
            session.rollback()
            expect(read, [(written,)], "the row read is not the row written")
            cursor.execute("SELECT to_regclass(%s)", (table,))
            expect(cursor.fetchall(), [(None,)], "the table is still there after the rollback")
        return "row read back, rolled back", "row read back, rolled back"


@dataclass(frozen=True)
class SqlQueryCheck(Check):
    """Queries that must answer what is expected: by query, the first value of the first row."""

    database: str
    credentials: str
    queries: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        return f"{self.service}/{self.database}"

    def run(self, access: Access) -> tuple[object, object]:
        observed: dict[str, str] = {}
        with connect(access, self.service, self.credentials, self.database) as session, session.cursor() as cursor:
            for query in self.queries:
                cursor.execute(query)
                row = cursor.fetchone()
                observed[query] = str(row[0]) if row else "no row"
        wrong = [query for query, expected in self.queries.items() if observed[query] != str(expected)]
        expect(wrong, [], "; ".join(f"{query} is {observed[query]!r}" for query in wrong))
        return list(observed.values()), list(self.queries.values())
