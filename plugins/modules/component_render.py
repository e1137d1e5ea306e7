# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_render
short_description: Render a component's manifests into a file
description:
  - Renders, parses, stamps and orders the manifests of the calling role without a cluster.
options:
  dest:
    description: The file to write.
    type: path
    required: true
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Render the manifests of MinIO
  mlops.platform.component_render:
    spec: "{{ component_spec }}"
    dest: rendered/minio.yml
"""

RETURN = r"""
objects:
  description: The number of manifests.
  returned: always
  type: int
"""
