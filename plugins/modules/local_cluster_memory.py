# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_memory
short_description: Measure the memory that a local cluster takes of its machine
description:
  - Adds up the memory of the processes of Kubernetes and of those in the pods.
  - Memory that processes share is counted once (the kernel's proportional set size), page cache is not.
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.host
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Measure the memory of the cluster
  mlops.platform.local_cluster_memory:
    host: "{{ host }}"
"""

RETURN = r"""
memory:
  description: Bytes in use by the programs of Kubernetes and by the processes in the pods; empty where nothing runs.
  returned: success
  type: dict
  sample: {kubernetes_bytes: 1288490188, pods_bytes: 1932735283}
"""
