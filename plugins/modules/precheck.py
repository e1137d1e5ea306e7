# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: precheck
short_description: Check that a cluster can carry the platform
description:
  - Asks whether the API answers and runs a version that goes with the platform, and holds the cluster against what the
    components need. That is kinds, permissions, namespaces, StorageClasses and volumes, Secrets, node ports, and room
    on the nodes beside the pods of others.
  - Fails with all problems, a line each. Changes nothing.
options:
  kubeconfig:
    description: The kubeconfig whose current context is used; the client's default one if it is not given.
    type: path
  needs:
    description: What the module M(mlops.platform.component_survey) said of the components, in one list.
    type: list
    elements: dict
    default: []
  provisions:
    description: Whether the components will be applied, or only validated, for which reading is enough.
    type: bool
    default: true
  room:
    description: Whether the pods must fit on the nodes that are there now.
    type: bool
    default: true
  may_be_absent:
    description: Whether it is no problem when there is no cluster yet.
    type: bool
    default: false
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Check that the cluster can carry the platform
  mlops.platform.precheck:
    kubeconfig: ~/.kube/config
    needs: "{{ groups.components | map('extract', hostvars, ['component_survey', 'needs']) | flatten(levels=1) }}"
  run_once: true
"""

RETURN = r"""
reached:
  description: Whether the cluster was checked.
  returned: success
  type: bool
version:
  description: The version of the API server.
  returned: when the cluster was reached
  type: str
  sample: v1.36.3
storage_class:
  description: The cluster's default StorageClass; empty where it has none, or the user may not list them.
  returned: when the cluster was reached
  type: str
nodes:
  description: What each node can give to pods; empty where the user may not list nodes.
  returned: when the cluster was reached
  type: list
  elements: dict
  sample: [{name: node1, cpu: 2.0, memory_bytes: 25171652608, pods: 110}]
unchecked:
  description: What the user may not list and hence was not checked.
  returned: when the cluster was reached
  type: list
  elements: str
"""
