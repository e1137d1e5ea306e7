# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_health
short_description: Validate a component by transactions
description:
  - Waits for the component's workloads and runs all its checks until they are healthy or the deadline has
    passed. Services are reached through the API server, so it works from any controller.
options:
  timeout_seconds:
    description: Seconds for all checks together, after the workloads are ready.
    type: float
    default: 30.0
  fail_on_unhealthy:
    description: Whether an unhealthy component fails the task.
    type: bool
    default: true
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers
"""

EXAMPLES = r"""
- name: Validate MinIO
  mlops.platform.component_health:
    spec: "{{ component_spec }}"
"""

RETURN = r"""
healthy:
  description: Whether all checks passed.
  returned: always
  type: bool
checks:
  description: The outcome of each check.
  returned: always
  type: list
  elements: dict
  sample:
    - {name: quorum, type: http, target: "minio:9000/minio/health/cluster", healthy: true, observed: 200, expected: 200,
       message: "", attempts: 1, duration_seconds: 0.021}
failed_checks:
  description: The names of the checks that failed.
  returned: always
  type: list
  elements: str
evidence:
  description: Warnings among the events and the last log lines of pods that are not ready.
  returned: when unhealthy
  type: dict
"""
