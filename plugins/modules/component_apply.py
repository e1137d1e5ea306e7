# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_apply
short_description: Apply a component's manifests
description:
  - Waits for the components it requires, renders the templates of the calling role, compares them with the
    cluster's metadata and sends only what is not provably unchanged, by server-side apply. Secrets that the
    component generates are created first.
  - What the API server warns of, such as a deprecated version, becomes a warning of the task.
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Apply the manifests of MinIO
  mlops.platform.component_apply:
    spec: "{{ component_spec }}"
"""

RETURN = r"""
objects:
  description: What was created, changed and removed, and how many objects were left as they are.
  returned: always
  type: dict
  sample: {created: ["Service mlops/minio"], changed: [], removed: [], unchanged: 5}
"""
