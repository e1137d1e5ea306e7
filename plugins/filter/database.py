# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `database`; its logic is in plugins/module_utils/database.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.database import parse
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: database
short_description: The parts of the URI of a PostgreSQL database
description:
  - Reads a URI as PostgreSQL's own library does, with percent-encoding, IPv6 addresses, several hosts and parameters.
  - A message about a wrong URI repeats no part of it that may be secret.
options:
  _input:
    description: The URI.
    type: str
    required: true
  variable:
    description: The variable that declares it, for messages.
    type: str
    required: true
positional: _input, variable
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Show where the database is
  ansible.builtin.debug:
    msg: "{{ (mlflow_backend_store_uri | mlops.platform.database('mlflow_backend_store_uri')).place }}"
"""

RETURN = """
_value:
  description: The keys C(host), C(port), C(name), C(username), C(password), C(parameters), C(verifies) and C(place).
  type: dict
"""


def _database(uri: str, variable: str) -> dict[str, Any]:
    try:
        found = parse(str(uri), variable)
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from None
    return {
        "host": found.host,
        "port": found.port,
        "name": found.name,
        "username": found.username,
        "password": found.password,
        "parameters": dict(found.parameters),
        "verifies": found.verifies,
        "place": found.place,
    }


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """The filters by name."""
        return {"database": _database}
