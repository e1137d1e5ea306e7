# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `containerd_with_import`; its logic is in plugins/module_utils/containerd.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.containerd import with_import
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: containerd_with_import
short_description: containerd's configuration with one import more
description:
  - Adds a file to what the configuration imports, unless it is among that already.
options:
  _input:
    description: The text of containerd's configuration, empty where there is none.
    type: str
    required: true
  path:
    description: The file that is to be imported.
    type: str
    required: true
positional: _input, path
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Have the text of a file
  ansible.builtin.set_fact:
    text: "{{ config | mlops.platform.containerd_with_import('/etc/containerd/conf.d/99-nvidia.toml') }}"
"""

RETURN = """
_value:
  description: The text of a file.
  type: str
"""


def _with_import(text: str, path: str) -> str:
    try:
        return with_import(str(text), str(path))
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"containerd_with_import": _with_import}
