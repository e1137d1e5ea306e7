"""URIs of databases: everything that libpq understands is kept, nothing secret is repeated."""

from __future__ import annotations

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.database import FILES, parse
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError


@pytest.mark.parametrize(
    ("uri", "host", "port", "name", "username", "password", "parameters", "place"),
    [
        ("postgresql://u:p@db.example.org/ml", "db.example.org", "5432", "ml", "u", "p", {},
         "postgresql://db.example.org:5432"),
        ("postgres://u:p%40%2F%3A%25@10.0.0.1:6543/ml", "10.0.0.1", "6543", "ml", "u", "p@/:%", {},
         "postgresql://10.0.0.1:6543"),
        ("postgresql+psycopg2://u%40corp:p@[2001:db8::1]:5433/ml?sslmode=verify-full&connect_timeout=5",
         "2001:db8::1", "5433", "ml", "u@corp", "p", {"sslmode": "verify-full", "connect_timeout": "5"},
         "postgresql://[2001:db8::1]:5433"),
        ("postgresql://u@one,two:5433/ml?target_session_attrs=read-write", "one,two", "5432,5433", "ml", "u", "",
         {"target_session_attrs": "read-write"}, "postgresql://one:5432,two:5433"),
        ("postgresql://u:p@db/ml?options=-c%20search_path%3Dml", "db", "5432", "ml", "u", "p",
         {"options": "-c search_path=ml"}, "postgresql://db:5432"),
    ],
    ids=["plain", "encoded password", "IPv6 and TLS", "two hosts", "options"],
)  # fmt: skip
def test_a_uri_is_read_as_libpq_reads_it(
    uri: str, host: str, port: str, name: str, username: str, password: str, parameters: dict[str, str], place: str
) -> None:
    found = parse(uri, "uri")
    assert (found.host, found.port, found.name) == (host, port, name)
    assert (found.username, found.password) == (username, password)
    assert (found.parameters, found.place) == (parameters, place)
    assert "password" not in repr(found)


@pytest.mark.parametrize(("mode", "verifies"), [("verify-full", True), ("verify-ca", True), ("require", False)])
def test_only_a_server_that_is_verified_needs_an_authority(mode: str, verifies: bool) -> None:
    assert parse(f"postgresql://u:p@db/ml?sslmode={mode}", "uri").verifies is verifies


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("mysql://u:s3cret@db/ml", "not the URI of a PostgreSQL database"),
        ("s3cret", "not the URI of a PostgreSQL database"),
        ("postgresql://u:s3cret@db", "the database is missing"),
        ("postgresql://db/ml", "the user is missing"),
        ("postgresql:///ml?user=u", "the host is missing"),
        ("postgresql://u:s3cret@x@db/ml", "must be percent-encoded"),
        ("postgresql://u:s3cret/x@db/ml", "must be percent-encoded|is missing"),
        ("postgresql://u:s3cret%zz@db/ml", "must be percent-encoded"),
        ("postgresql://u:s3cret@db:many/ml", "the port must be a number"),
        ("postgresql://u:s3cret@db:70000/ml", "the port must be a number"),
        ("postgresql://u:s3cret@db/ml?sslmod=require", "unknown parameter 'sslmod'; did you mean sslmode"),
        ("postgresql://u:s3cret@db/ml?options=a%0Ahost%3Devil", "the parameter options has a character"),
        *((f"postgresql://u:s3cret@db/ml?{name}=x", f"the parameter {name} names what a pod does not have")
          for name in FILES),
    ],
)  # fmt: skip
def test_a_wrong_uri_is_named_by_its_variable_alone(uri: str, message: str) -> None:
    with pytest.raises(PlatformError, match=message) as caught:
        parse(uri, "mlflow_backend_store_uri")
    assert str(caught.value).startswith("mlflow_backend_store_uri: ")
    assert "s3cret" not in str(caught.value)
