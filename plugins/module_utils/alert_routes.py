# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where alerts go: Alertmanager's configuration (https://prometheus.io/docs/alerting/latest/configuration/)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.component import build

FILES = "/etc/alertmanager/secrets"
"""Where the operator mounts the Secrets that an Alertmanager object names, each in a folder of its name."""
NOBODY, WATCHDOG = "nobody", "watchdog"
GROUPED = ["alertname", "component", "namespace"]


@dataclass(frozen=True)
class Receiver:
    """Who is told of alerts of some `severities`: by a webhook, whose URL may be in a Secret, and by mail."""

    name: str
    severities: Sequence[str] = ("critical", "warning")
    webhook_url: str = ""
    webhook_secret: str = ""
    email: Sequence[str] = ()


@dataclass(frozen=True)
class Telling:
    """How people are told. Secrets hold a URL under `url`, a password under `password`."""

    group_wait_seconds: int
    repeat_seconds: int
    watchdog_url: str = ""
    watchdog_secret: str = ""
    watchdog_seconds: int = 60
    smtp_server: str = ""
    smtp_from: str = ""
    smtp_username: str = ""
    smtp_password: str = ""
    smtp_secret: str = ""
    smtp_tls_required: bool = True


def configuration(receivers: Sequence[Mapping[str, Any]], telling: Mapping[str, Any]) -> str:
    """The configuration as JSON, which is YAML, with the keys in order."""
    told = [build(Receiver, raw, f"receiver {raw.get('name', '')!r}") for raw in receivers]
    how = build(Telling, telling, "how people are told")
    return json.dumps(_configuration(told, how), sort_keys=True)


def _configuration(receivers: Sequence[Receiver], how: Telling) -> dict[str, Any]:
    watched = bool(how.watchdog_url or how.watchdog_secret)
    pulse = f"{how.watchdog_seconds}s"
    own = [
        {"receiver": NOBODY, "matchers": ['probe="true"']},  # what checks make themselves
        {
            "receiver": WATCHDOG if watched else NOBODY,
            "matchers": ['alertname="Watchdog"'],
            "group_wait": "0s",
            "group_interval": pulse,
            "repeat_interval": pulse,
        },
    ]
    routes = [
        {"receiver": item.name, "matchers": [f'severity=~"{"|".join(item.severities)}"'], "continue": True}
        for item in receivers
    ]
    dead_mans_switch = {"name": WATCHDOG, "webhook_configs": [_webhook(how.watchdog_url, how.watchdog_secret)]}
    return {
        "route": {
            "receiver": NOBODY,
            "group_by": GROUPED,
            "group_wait": f"{how.group_wait_seconds}s",
            "group_interval": "1m",
            "repeat_interval": f"{how.repeat_seconds}s",
            "routes": own + routes,
        },
        # What is critical need not be told of as a warning too.
        "inhibit_rules": [
            {
                "source_matchers": ['severity="critical"'],
                "target_matchers": ['severity="warning"'],
                "equal": GROUPED,
            }
        ],
        "receivers": [{"name": NOBODY}, *([dead_mans_switch] if watched else []), *(_told(x, how) for x in receivers)],
    }


def _told(receiver: Receiver, how: Telling) -> dict[str, Any]:
    found: dict[str, Any] = {"name": receiver.name}
    if receiver.webhook_url or receiver.webhook_secret:
        found["webhook_configs"] = [_webhook(receiver.webhook_url, receiver.webhook_secret)]
    if receiver.email:
        found["email_configs"] = [_mail(receiver.email, how)]
    return found


def _webhook(url: str, secret: str) -> dict[str, Any]:
    place = {"url_file": f"{FILES}/{secret}/url"} if secret else {"url": url}
    return {"send_resolved": True, **place}


def _mail(addresses: Sequence[str], how: Telling) -> dict[str, Any]:
    login: dict[str, Any] = {}
    if how.smtp_username:
        file = {"auth_password_file": f"{FILES}/{how.smtp_secret}/password"}
        login = {
            "auth_username": how.smtp_username,
            **(file if how.smtp_secret else {"auth_password": how.smtp_password}),
        }
    return {
        "to": ", ".join(addresses),
        "from": how.smtp_from,
        "smarthost": how.smtp_server,
        "require_tls": how.smtp_tls_required,
        "send_resolved": True,
        **login,
    }
