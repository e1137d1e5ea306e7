# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: precheck
short_description: Check that a cluster can carry the platform
description:
  - Asks whether the API answers, runs a supported version and has the StorageClass that volumes need.
options:
  kubeconfig:
    description: The kubeconfig whose current context is used; the client's default one if it is not given.
    type: path
  storage_class:
    description: The StorageClass that must exist; empty means that there must be a default one.
    type: str
    default: ""
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Check that the cluster can carry the platform
  mlops.platform.precheck:
    kubeconfig: ~/.kube/config
  run_once: true
"""

RETURN = r"""
version:
  description: The version of the API server.
  returned: success
  type: str
  sample: v1.36.3
storage_class:
  description: The StorageClass that volumes get.
  returned: success
  type: str
nodes:
  description: What each node can give to pods; empty where the user may not list nodes.
  returned: success
  type: list
  elements: dict
  sample: [{name: node1, cpu: 2.0, memory_bytes: 25171652608, pods: 110}]
"""
