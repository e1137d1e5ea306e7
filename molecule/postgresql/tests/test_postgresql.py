"""PostgreSQL as its consumer, as its superuser, as a stranger."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import sql

if TYPE_CHECKING:
    from psycopg2.extensions import connection

Login = Callable[..., contextlib.AbstractContextManager["connection"]]


@pytest.fixture(scope="module")
def login(address: str, variables: dict[str, Any]) -> Login:
    """Opens a connection through the node's port, and closes it."""

    @contextlib.contextmanager
    def connect(user: str, password: str, database: str = "mlflow") -> Iterator[connection]:
        port = variables["postgresql_external_node_port"]
        session = psycopg2.connect(
            host=address, port=port, user=user, password=password, dbname=database, connect_timeout=10
        )
        session.autocommit = True
        try:
            yield session
        finally:
            session.close()

    return connect


@pytest.fixture(scope="module")
def mlflow(login: Login, secret: Callable[[str], dict[str, str]]) -> Iterator[connection]:
    """A session of the consumer."""
    values = secret("postgresql-credentials")
    with login(values["username"], values["password"]) as session:
        yield session


@pytest.fixture(scope="module")
def superuser(login: Login, secret: Callable[[str], dict[str, str]]) -> Iterator[connection]:
    """A session of the superuser."""
    values = secret("postgresql-superuser")
    with login(values["username"], values["password"], "postgres") as session:
        yield session


def rows(session: connection, query: str | sql.Composable, *values: object) -> list[tuple[Any, ...]]:
    """What a query returns; nothing for a statement."""
    with session.cursor() as cursor:
        cursor.execute(query, values)
        return cursor.fetchall() if cursor.description else []


def test_the_consumer_writes_and_reads(mlflow: connection) -> None:
    table = sql.Identifier(f"probe_{secrets.token_hex(4)}")
    value = secrets.token_hex(16)
    rows(mlflow, sql.SQL("CREATE TABLE {} (value text)").format(table))
    try:
        rows(mlflow, sql.SQL("INSERT INTO {} VALUES (%s)").format(table), value)
        assert rows(mlflow, sql.SQL("SELECT value FROM {}").format(table)) == [(value,)]
    finally:
        rows(mlflow, sql.SQL("DROP TABLE {}").format(table))


def test_the_consumer_is_no_administrator(mlflow: connection) -> None:
    query = "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication FROM pg_roles WHERE rolname = current_user"
    assert rows(mlflow, query) == [(False, False, False, False)]


def test_the_connection_string_of_the_secret_works(login: Login, secret: Callable[[str], dict[str, str]]) -> None:
    parts = urlsplit(secret("postgresql-credentials")["connection-string"])
    assert (parts.scheme, parts.hostname, parts.port) == ("postgresql", "postgresql.mlops.svc.cluster.local", 5432)
    with login(parts.username, parts.password, parts.path.removeprefix("/")) as session:
        assert rows(session, "SELECT current_user::text, current_database()::text") == [("mlflow", "mlflow")]


def test_extensions_are_installed_and_answer(mlflow: connection) -> None:
    found = {name for (name,) in rows(mlflow, "SELECT extname FROM pg_extension")}
    assert found >= {"uuid-ossp", "pg_stat_statements"}
    assert len(str(rows(mlflow, "SELECT uuid_generate_v4()::text")[0][0])) == 36
    assert rows(mlflow, "SELECT count(*) > 0 FROM pg_stat_statements") == [(True,)]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("max_connections", "100"),
        ("shared_buffers", "256MB"),
        ("effective_cache_size", "1GB"),
        ("work_mem", "4MB"),
        ("password_encryption", "scram-sha-256"),
    ],
)
def test_settings_are_those_asked_for(superuser: connection, setting: str, value: str) -> None:
    assert rows(superuser, "SELECT current_setting(%s)", setting) == [(value,)]


def test_every_login_needs_scram(superuser: connection) -> None:
    assert rows(superuser, "SELECT DISTINCT auth_method FROM pg_hba_file_rules") == [("scram-sha-256",)]
    query = "SELECT rolname FROM pg_authid WHERE rolcanlogin AND coalesce(rolpassword, '') NOT LIKE %s"
    assert rows(superuser, query, "SCRAM-SHA-256$%") == []


@pytest.mark.parametrize("password", ["wrong", "postgres", "mlflow"])
@pytest.mark.parametrize("user", ["mlflow", "postgres"])
def test_a_wrong_password_is_refused(login: Login, user: str, password: str) -> None:
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"), login(user, password):
        pass


def test_another_role_cannot_enter_the_consumer_s_database(login: Login, superuser: connection) -> None:
    name, password = f"stranger_{secrets.token_hex(4)}", secrets.token_hex(16)
    role = sql.Identifier(name)
    rows(superuser, sql.SQL("CREATE ROLE {} LOGIN PASSWORD %s").format(role), password)
    try:
        refused = pytest.raises(psycopg2.OperationalError, match='permission denied for database "mlflow"')
        with refused, login(name, password):
            pass
    finally:
        rows(superuser, sql.SQL("DROP ROLE {}").format(role))


def test_the_report_says_the_same(checks: Callable[[str], dict[str, Any]]) -> None:
    assert checks("postgresql") == {
        "rollout": True,
        "mlflow writes and rolls back": True,
        "extensions of mlflow": True,
        "settings": True,
        "mlflow needs its password": True,
    }


def test_the_exporter_reads_statistics_and_no_data(login: Login, secret: Callable[[str], dict[str, str]]) -> None:
    values = secret("postgresql-exporter")
    with login(values["username"], values["password"], "postgres") as session:
        assert rows(session, "SELECT pg_database_size('mlflow') > 0") == [(True,)]
        query = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member = current_user::regrole"
        assert rows(session, query) == [("pg_monitor",)]
    refused = pytest.raises(psycopg2.OperationalError, match='permission denied for database "mlflow"')
    with refused, login(values["username"], values["password"]):
        pass
