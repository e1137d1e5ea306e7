# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_failed
short_description: Say that a component failed
description:
  - Tells the components that wait for this one, and fails with the first cause.
options:
  name:
    description: The component.
    type: str
    required: true
  cause:
    description: The result of the task that failed.
    type: dict
    required: true
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Tell those who wait
  mlops.platform.component_failed:
    name: minio
    cause: "{{ ansible_failed_result }}"
"""

RETURN = r"""
{}
"""
