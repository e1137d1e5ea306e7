# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `certificates`; its logic is in plugins/module_utils/certificates.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.certificates import read
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: certificates
short_description: The certificates of authorities, checked
description:
  - Takes PEM text or the path of a PEM file on the controller, and gives the certificates as PEM text.
  - Refuses what is no certificate, and certificates that are not valid now.
options:
  _input:
    description: PEM text, the path of a PEM file, or nothing.
    type: str
    required: true
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Have the authorities as text
  ansible.builtin.set_fact:
    authorities: "{{ platform_ca_certificates | mlops.platform.certificates }}"
"""

RETURN = """
_value:
  description: PEM text, empty for nothing.
  type: str
"""


def _certificates(value: str) -> str:
    try:
        return read(str(value))
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"certificates": _certificates}
