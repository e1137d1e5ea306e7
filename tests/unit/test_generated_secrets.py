"""Secrets: generated once, kept for ever, never a surprise."""

from __future__ import annotations

import base64
import itertools
from typing import Any, cast

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import (
    LENGTH,
    SecretSpec,
    complete,
    ensure,
)

CONNECTION = SecretSpec(
    "credentials",
    "db",
    generate=("password",),
    values={"username": "ml/flow"},
    derive={"connection-string": "postgresql://{username}:{password}@host/db"},
    copies=("apps",),
)


class Store:
    """The Secrets of a cluster, which is all that `ensure` asks of it."""

    def __init__(self) -> None:
        self.secrets: dict[tuple[str, str], dict[str, str]] = {}
        self.labels: dict[str, str] = {}

    def secret(self, name: str, namespace: str) -> dict[str, str] | None:
        return self.secrets.get((namespace, name))

    def apply(self, manifest: dict[str, Any]) -> None:
        metadata = manifest["metadata"]
        self.labels = metadata["labels"]
        values = {key: base64.b64decode(value).decode() for key, value in manifest["data"].items()}
        self.secrets[(metadata["namespace"], metadata["name"])] = values


@pytest.fixture
def store() -> Store:
    return Store()


def made(store: Store, *specs: SecretSpec, check_mode: bool = False) -> list[str]:
    return ensure(cast(Cluster, store), specs, "web", check_mode)


def test_a_bearer_token_is_signed_with_a_generated_key() -> None:
    spec = SecretSpec("s", "n", ("secret-key",), sign={"token": {"key": "secret-key", "claims": {"sub": "reader"}}})
    made = complete(spec, {"secret-key": "known"})
    # What PyJWT makes of it: jwt.encode({"sub": "reader"}, "known", "HS512").
    said = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJyZWFkZXIifQ"
    signature = "i_x5mYNn-9LETy3tSmBUmaLx3l0n169uFzd4Hx3j1vmr7Y8Frkb1LDDcEcoJyaHPb2daQ8fzXoe8dBiipwhDug"
    assert made == {"secret-key": "known", "token": f"{said}.{signature}"}
    assert complete(spec, made) == made
    other = complete(spec, {})
    assert other["token"].startswith(said)
    assert other["token"] != made["token"]


def test_a_token_that_is_signed_with_nothing_is_refused() -> None:
    spec = SecretSpec("s", "n", ("a",), sign={"token": {"key": "b", "claims": {}}})
    with pytest.raises(PlatformError, match="s derives a key from 'b', which is none of its keys"):
        complete(spec, {})


def test_generated_values_are_long_and_differ() -> None:
    values = [complete(SecretSpec("s", "n", ("a", "b")), {}) for _ in range(20)]
    every = list(itertools.chain.from_iterable(value.values() for value in values))
    assert {len(value) for value in every} == {LENGTH}
    assert len(set(every)) == len(every)
    assert all(value.isalnum() for value in every)


def test_what_exists_is_kept_and_what_is_missing_generated() -> None:
    spec = SecretSpec("s", "n", ("old", "new"))
    assert complete(spec, {"old": "kept", "stranger": "x"}, lambda: "fresh") == {"old": "kept", "new": "fresh"}


def test_derived_values_are_percent_encoded_and_follow_their_source() -> None:
    values = complete(CONNECTION, {"password": "p@ss:w/rd"})
    assert values["username"] == "ml/flow"
    assert values["password"] == "p@ss:w/rd"
    assert values["connection-string"] == "postgresql://ml%2Fflow:p%40ss%3Aw%2Frd@host/db"


def test_dashes_become_underscores_in_references() -> None:
    spec = SecretSpec("s", "n", ("secret-key",), derive={"line": "key={secret_key}"})
    assert complete(spec, {"secret-key": "k"})["line"] == "key=k"


def test_a_login_is_hashed_as_files_of_logins_have_it() -> None:
    spec = SecretSpec("s", "n", ("password",), {"username": "admin"}, {".htpasswd": "{username}:{password:htpasswd}"})
    # printf 'open sesame' | openssl dgst -sha1 -binary | base64
    assert complete(spec, {"password": "open sesame"})[".htpasswd"] == "admin:{SHA}W8r/fyL/UzygmbNAjq2HbA67qac="


def test_a_reference_to_no_key_is_named() -> None:
    with pytest.raises(PlatformError, match="secrets: s derives a key from 'pasword', which is none of its keys"):
        complete(SecretSpec("s", "n", ("password",), derive={"url": "x://{pasword}"}), {})


@pytest.mark.parametrize(
    "raw", [{"name": "s", "genrate": ["a"]}, {"generate": ["a"]}, {"name": ""}], ids=["typo", "no name", "empty name"]
)
def test_a_wrong_description_is_refused(raw: dict[str, Any]) -> None:
    with pytest.raises(PlatformError, match="must have a name and no other keys than"):
        SecretSpec.parse(raw, "n")


def test_a_description_is_completed() -> None:
    spec = SecretSpec.parse({"name": "s", "copies": ["apps", "own", "apps"], "generate": ["a"]}, "own")
    assert (spec.namespace, spec.copies, spec.generate) == ("own", ("apps",), ("a",))


def test_every_namespace_gets_the_same_values(store: Store) -> None:
    assert made(store, CONNECTION) == ["db/credentials", "apps/credentials"]
    assert store.secrets[("db", "credentials")] == store.secrets[("apps", "credentials")]
    assert store.labels == {"app.kubernetes.io/managed-by": "mlops.platform", "mlops.platform/component": "web"}


def test_a_second_run_writes_nothing(store: Store) -> None:
    made(store, CONNECTION)
    before = dict(store.secrets)
    assert made(store, CONNECTION) == []
    assert store.secrets == before


def test_a_copy_that_was_changed_is_put_back(store: Store) -> None:
    made(store, CONNECTION)
    password = store.secrets[("db", "credentials")]["password"]
    store.secrets[("apps", "credentials")] = {"password": "changed"}
    assert made(store, CONNECTION) == ["apps/credentials"]
    assert store.secrets[("apps", "credentials")]["password"] == password


def test_a_lost_original_is_made_anew_and_copied(store: Store) -> None:
    made(store, CONNECTION)
    del store.secrets[("apps", "credentials")]
    assert made(store, CONNECTION) == ["apps/credentials"]


def test_check_mode_says_what_it_would_write(store: Store) -> None:
    assert made(store, CONNECTION, check_mode=True) == ["db/credentials", "apps/credentials"]
    assert store.secrets == {}
