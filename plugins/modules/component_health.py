# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_health
short_description: Validate a component by transactions
description:
  - Waits for the component's workloads and runs its quick checks until they are healthy or the deadline has
    passed. Services are reached through the API server, so it works from any controller.
options:
  timeout_seconds:
    description: Seconds for all quick checks together, after the workloads are ready; the component's own by default.
    type: float
  full:
    description:
      - Whether the full checks are run too, which may take minutes, once the quick ones are healthy.
      - Components that wait for this one go on before.
    type: bool
    default: false
  fail_on_unhealthy:
    description: Whether an unhealthy component fails the task.
    type: bool
    default: true
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers (@mlops)
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
images:
  description: The images of the component's pods and the digests of what was pulled.
  returned: always
  type: list
  elements: dict
  sample:
    - {image: "localhost:5000/minio:2026-02-12T20-18-48Z-1f7e432231a6", containers: [minio-0/minio],
       digest: "sha256:01567c2b717bd39d89bfb6659d26d20adf2730c88648c4db9c48c98c55c99560"}
resources:
  description: CPUs and bytes of memory that each container requests, may take and uses, the last where it is served.
  returned: always
  type: list
  elements: dict
  sample:
    - {pod: minio-0, container: minio, requests: {cpu: 0.05, memory_bytes: 268435456},
       limits: {memory_bytes: 1073741824}, usage: {cpu: 0.0038, memory_bytes: 220020736}}
evidence:
  description: Warnings among the events and the last log lines of pods that are not ready.
  returned: when unhealthy
  type: dict
"""
