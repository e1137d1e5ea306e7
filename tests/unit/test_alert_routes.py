"""Who is told of which alert, as Alertmanager reads it."""

import json
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.alert_routes import configuration
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

TELLING: dict[str, Any] = {"group_wait_seconds": 10, "repeat_seconds": 3600}
SMTP = {"smtp_server": "mail.example.org:587", "smtp_from": "platform@example.org"}


def made(*receivers: dict[str, Any], **telling: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(configuration(receivers, {**TELLING, **telling}))
    return found


def routed(found: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [(route["receiver"], route["matchers"]) for route in found["route"]["routes"]]


def test_without_receivers_nobody_is_told() -> None:
    found = made()
    assert found["receivers"] == [{"name": "nobody"}]
    assert found["route"]["receiver"] == "nobody"
    assert routed(found) == [("nobody", ['probe="true"']), ("nobody", ['alertname="Watchdog"'])]
    assert (found["route"]["group_wait"], found["route"]["repeat_interval"]) == ("10s", "3600s")


def test_each_receiver_hears_of_its_severities_and_the_next_one_is_asked_too() -> None:
    found = made(
        {"name": "chat", "webhook_url": "http://chat.example.org/"},
        {"name": "on-call", "severities": ["critical"], "webhook_secret": "on-call"},
    )
    assert routed(found)[2:] == [("chat", ['severity=~"critical|warning"']), ("on-call", ['severity=~"critical"'])]
    assert [route.get("continue") for route in found["route"]["routes"]] == [None, None, True, True]
    assert found["receivers"][1:] == [
        {"name": "chat", "webhook_configs": [{"url": "http://chat.example.org/", "send_resolved": True}]},
        {
            "name": "on-call",
            "webhook_configs": [
                {"url_file": "/etc/alertmanager/secrets/on-call/url", "send_resolved": True},
            ],
        },
    ]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ({"watchdog_url": "http://snitch.example.org/"}, {"url": "http://snitch.example.org/"}),
        ({"watchdog_secret": "snitch"}, {"url_file": "/etc/alertmanager/secrets/snitch/url"}),
    ],
)
def test_the_watchdog_has_a_receiver_of_its_own(given: dict[str, str], place: dict[str, str]) -> None:
    found = made({"name": "all", "webhook_url": "http://a/"}, **given, watchdog_seconds=30)
    watchdog = found["route"]["routes"][1]
    assert (watchdog["receiver"], watchdog["group_wait"], watchdog["repeat_interval"]) == ("watchdog", "0s", "30s")
    assert "continue" not in watchdog, "people are not told that all is well"
    assert found["receivers"][1] == {"name": "watchdog", "webhook_configs": [{**place, "send_resolved": True}]}


def test_mail_goes_to_all_addresses_with_a_password_from_where_it_is() -> None:
    team = {"name": "team", "email": ["a@example.org", "b@example.org"]}
    (plain,) = made(team, **SMTP)["receivers"][1]["email_configs"]
    assert (plain["to"], plain["smarthost"], plain["require_tls"]) == (
        "a@example.org, b@example.org",
        "mail.example.org:587",
        True,
    )
    assert "auth_username" not in plain
    (given,) = made(team, **SMTP, smtp_username="me", smtp_password="s")["receivers"][1]["email_configs"]
    assert (given["auth_username"], given["auth_password"]) == ("me", "s")
    (kept,) = made(team, **SMTP, smtp_username="me", smtp_secret="mail")["receivers"][1]["email_configs"]
    assert kept["auth_password_file"] == "/etc/alertmanager/secrets/mail/password"
    assert "auth_password" not in kept


def test_what_is_critical_is_not_told_as_a_warning_too() -> None:
    (rule,) = made()["inhibit_rules"]
    assert rule["equal"] == made()["route"]["group_by"]


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(PlatformError, match="receiver 'x': unknown key 'webhok_url'"):
        made({"name": "x", "webhok_url": "http://a/"})
