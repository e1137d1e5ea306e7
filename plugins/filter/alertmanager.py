# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `alertmanager`; its logic is in plugins/module_utils/alert_routes.py."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.alert_routes import configuration
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: alertmanager
short_description: The configuration of Alertmanager
description:
  - Makes the text of Alertmanager's configuration of those who are told of alerts.
positional: telling
options:
  _input:
    description: The receivers, as the role monitoring has them in C(monitoring_receivers).
    type: list
    elements: dict
    required: true
  telling:
    description: How they are told, as C(__monitoring_telling) of the role monitoring.
    type: dict
    required: true
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Tell a team of everything that is critical
  ansible.builtin.set_fact:
    text: "{{ receivers | mlops.platform.alertmanager(telling) }}"
"""

RETURN = """
_value:
  description: The configuration as JSON, which Alertmanager reads as YAML.
  type: str
"""


def _alertmanager(receivers: Any, telling: Any) -> str:
    try:
        return configuration(*json.loads(json.dumps([receivers, telling])))
    except PlatformError as error:
        raise AnsibleFilterError(f"alertmanager: {error}") from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"alertmanager": _alertmanager}
