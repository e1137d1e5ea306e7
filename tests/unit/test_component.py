"""A component's description: typed, or refused with a word that helps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import configure
from ansible_collections.mlops.platform.plugins.module_utils.component import Component, build
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.generated_secrets import SecretSpec

MINIMAL = {"name": "web", "version": "1", "namespace": "ml"}


@dataclass
class Example:
    """One key that is needed, two that are not."""

    needed: int
    given: str = ""
    made: list[int] = field(default_factory=list)


def test_defaults_of_a_component() -> None:
    component = Component.parse(MINIMAL)
    assert (component.pod_security, component.timeout_seconds, component.checks) == ("restricted", 300.0, ())


def test_secrets_are_typed_and_live_in_the_component_s_namespace() -> None:
    component = Component.parse({**MINIMAL, "secrets": [{"name": "s", "generate": ["a"]}]})
    assert component.secrets == (SecretSpec("s", "ml", ("a",)),)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"chekcs": []},
            "component_spec of web: unknown key 'chekcs'; allowed are access, after, checks, checks_seconds",
        ),
        ({"namespaces": {"web-2": "strict"}}, "namespaces.web-2 is 'strict'; allowed are privileged, baseline"),
        ({"pod_security": "strict"}, "pod_security is 'strict'; allowed are privileged, baseline, restricted"),
        ({"secrets": [{"nam": "s"}]}, "secrets: {'nam': 's'} must have a name"),
    ],
)
def test_a_wrong_key_or_value_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError) as caught:
        Component.parse({**MINIMAL, **changes})
    assert message in str(caught.value)


@pytest.mark.parametrize("missing", ["version", "namespace"])
def test_a_missing_key_is_named(missing: str) -> None:
    raw = {key: value for key, value in MINIMAL.items() if key != missing}
    with pytest.raises(PlatformError, match=f"component_spec of web: the key '{missing}' is missing"):
        Component.parse(raw)


def test_a_component_without_a_name() -> None:
    with pytest.raises(PlatformError, match="component_spec of a component without a name: the key 'name' is missing"):
        Component.parse({"version": "1", "namespace": "ml"})


def test_build_takes_plain_data() -> None:
    assert build(Example, {"needed": 1, "made": [2]}, "here") == Example(1, "", [2])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({}, "here: the key 'needed' is missing"),
        ({"needed": 1, "else": 2}, "here: unknown key 'else'; allowed are given, made, needed"),
    ],
)
def test_build_says_where_and_what(raw: dict[str, Any], message: str) -> None:
    with pytest.raises(PlatformError, match=message):
        build(Example, raw, "here")


def test_steps_that_are_premises_come_first() -> None:
    user = {"type": "mlflow_user", "service": {"name": "mlflow", "port": 5000}, "admin": "a", "credentials": "b"}
    spec = {**MINIMAL, "configure": (user, {**user, "premise": True})}
    premises, others = configure.parse(Component.parse(spec))
    assert [step.premise for step in (*premises, *others)] == [True, False]
