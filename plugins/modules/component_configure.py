# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_configure
short_description: Configure a running service
description:
  - Waits for the component's workloads and performs its configuration steps, each of which compares what the
    service has with what it must have.
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Configure MinIO
  mlops.platform.component_configure:
    spec: "{{ component_spec }}"
"""

RETURN = r"""
configured:
  description: What was changed in the service, one line each.
  returned: always
  type: list
  elements: str
  sample: ["bucket models created"]
"""
