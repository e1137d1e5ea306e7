# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_pki
short_description: Make and renew the certificates, keys and kubeconfigs of a local cluster
description:
  - Makes authorities, one certificate for each identity, the key that signs service account tokens and the key that
    encrypts Secrets at rest. What is there and still right stays as it is.
options:
  directory:
    description: Where the keys and certificates go (mode 0700).
    type: path
    required: true
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  server:
    description: Address of the API server for the kubeconfigs.
    type: str
    required: true
  authorities:
    description: Names of the authorities.
    type: list
    elements: str
    required: true
  identities:
    description: >-
      For each identity its authority and common_name, and where it has them organization, server_names
      (names and addresses under which it serves) and kubeconfig (a file to write).
    type: dict
    required: true
  pairs_directory:
    description: Where the pairs of the identities go, if not into O(directory).
    type: path
  valid_days:
    description: How long certificates are valid.
    type: int
    required: true
  renew_days:
    description: Certificates with fewer days left are renewed.
    type: int
    required: true
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Make the certificates
  mlops.platform.local_cluster_pki:
    directory: /var/lib/mlops-platform/mlops/pki
    cluster: mlops
    server: https://10.95.0.1:6443
    authorities: [cluster-ca]
    identities:
      admin:
        authority: cluster-ca
        common_name: admin
        kubeconfig: /var/lib/mlops-platform/mlops/admin.kubeconfig
    valid_days: 365
    renew_days: 30
"""

RETURN = r"""
written:
  description: The files that were written, each with the reason.
  returned: success
  type: dict
"""
