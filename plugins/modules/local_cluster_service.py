# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_service
short_description: Take a node of a local cluster into service and out of it
description:
  - Closes a node to new pods and has those that are on it move, as far as their disruption budgets allow; or opens it
    again; or deletes it from the API.
  - A node that somebody closed in another way stays closed.
options:
  name:
    description: Name of the node.
    type: str
    required: true
  kubeconfig:
    description: The administrator's kubeconfig.
    type: path
    required: true
  state:
    description: >-
      V(open) takes pods again if it was emptied by this module. V(empty) has no pods but those of DaemonSets, and takes
      none. V(removed) is no node of the cluster any more; its kubelet must not run.
    type: str
    choices: [open, empty, removed]
    required: true
  keeps_volumes:
    description: Whether volumes on the node will still be there. If not, a node that has any is refused.
    type: bool
    default: true
  seconds:
    description: How long all its pods may take to leave.
    type: int
    default: 180
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Have all pods of a node move
  mlops.platform.local_cluster_service:
    name: node3
    kubeconfig: /var/lib/mlops-platform/mlops/admin.kubeconfig
    state: empty
"""

RETURN = r"""
moved:
  description: The pods that left the node, as namespace/name.
  returned: when O(state=empty)
  type: list
  elements: str
"""
