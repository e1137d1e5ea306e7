# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: component_survey
short_description: Say what a component will need of the cluster
description:
  - Renders the manifests of the calling role without a cluster, and sums up what they need. The module
    M(mlops.platform.precheck) holds a cluster against it.
options:
  observation:
    description: What watches the component, described as a component, where anything does.
    type: dict
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.component
author: The mlops.platform maintainers
"""

EXAMPLES = r"""
- name: Survey the needs of MinIO
  mlops.platform.component_survey:
    spec: "{{ component_spec }}"
  register: component_survey
"""

RETURN = r"""
needs:
  description: Pods with their requests, volumes, kinds, namespaces, Secrets and node ports, and what observing needs.
  returned: success
  type: list
  elements: dict
"""
