# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_node
short_description: Give the cluster's administrators their rights and wait for its node
description:
  - Makes the cluster role bindings without which nobody could do anything, as a member of C(system:masters) whose
    certificate is made for this and never stored.
  - Waits until the node is ready by what its kubelet has said since it was started.
options:
  name:
    description: Name of the node.
    type: str
    required: true
  server:
    description: Address of the API server.
    type: str
    required: true
  run_dir:
    description: Directory of the cluster's sockets and process state.
    type: path
    required: true
  authority:
    description: The certificate of the cluster's authority.
    type: path
    required: true
  pair:
    description: The administrator's certificate and key.
    type: path
    required: true
  signer:
    description: The authority's certificate and key.
    type: path
    required: true
  grants:
    description: Names of cluster role bindings, each with role, kind (User or Group) and subject.
    type: dict
    required: true
  start_seconds:
    description: How long the node may take.
    type: int
    default: 180
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Wait until the node is ready
  mlops.platform.local_cluster_node:
    name: node1
    server: https://10.95.0.1:6443
    run_dir: /run/mlops-platform/mlops
    authority: /var/lib/mlops-platform/mlops/pki/cluster-ca.crt
    pair: /var/lib/mlops-platform/mlops/pki/admin.pem
    signer: /var/lib/mlops-platform/mlops/pki/cluster-ca.pem
    grants:
      administrators: {role: cluster-admin, kind: Group, subject: administrators}
"""

RETURN = r"""
granted:
  description: The cluster role bindings that were made.
  returned: success
  type: list
  elements: str
"""
