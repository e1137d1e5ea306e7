# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `containerd_with_nvidia`; its logic is in plugins/module_utils/containerd.py."""

from __future__ import annotations

from collections.abc import Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.mlops.platform.plugins.module_utils.containerd import with_nvidia
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

DOCUMENTATION = """
name: containerd_with_nvidia
short_description: What tells containerd of NVIDIA's runtime
description:
  - Makes the file that adds the runtime C(nvidia), and devices by name, to what the main configuration says.
options:
  _input:
    description: The text of containerd's configuration, empty where there is none.
    type: str
    required: true
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = """
- name: Have the text of a file
  ansible.builtin.set_fact:
    text: "{{ config | mlops.platform.containerd_with_nvidia }}"
"""

RETURN = """
_value:
  description: The text of a file.
  type: str
"""


def _with_nvidia(text: str) -> str:
    try:
        return with_nvidia(str(text))
    except PlatformError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """Names the filters of this file."""

    def filters(self) -> dict[str, Callable[..., str]]:
        """The filters by name."""
        return {"containerd_with_nvidia": _with_nvidia}
