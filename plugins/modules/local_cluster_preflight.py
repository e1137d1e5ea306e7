# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_preflight
short_description: Refuse a machine on which a local cluster could not work
description:
  - Checks the operating system, the user, memory, disk, ports, networks, and that nothing changed that cannot change.
  - Changes nothing but the note of what cannot change.
options:
  packages:
    description: Debian packages, each with the program that it brings.
    type: dict
    required: true
  ports:
    description: Ports by the name of their variable.
    type: dict
    required: true
  networks:
    description: Networks by the name of their variable.
    type: dict
    required: true
  unchangeable:
    description: Settings that are written into the cluster's data, by the name of their variable.
    type: dict
    required: true
  memory_mib:
    description: Memory that the machine must have.
    type: int
    required: true
  disks:
    description: Space that must be free.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Where, whether it exists or not.
        type: path
        required: true
      mib:
        description: How much.
        type: int
        required: true
      variable:
        description: The variable that says so.
        type: str
        required: true
  pods:
    description: Network of the addresses that the node's own pods get.
    type: str
    required: true
extends_documentation_fragment:
  - mlops.platform.action
  - mlops.platform.action.host
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Check the machine
  mlops.platform.local_cluster_preflight:
    host: "{{ cluster_host }}"
    packages: {containerd: containerd}
    ports: {local_cluster_etcd_port: 2379}
    networks: {local_cluster_pod_cidr: 10.244.0.0/16}
    unchangeable: {local_cluster_pod_cidr: 10.244.0.0/16}
    memory_mib: 3500
    disks: [{path: /var/lib/cluster, mib: 5120, variable: local_cluster_minimum_disk_mib}]
    pods: 10.244.0.0/24
"""

RETURN = r"""
missing_packages:
  description: The packages whose program is not there.
  returned: success
  type: list
  elements: str
nameservers:
  description: The name servers of the machine that pods can reach.
  returned: success
  type: list
  elements: str
"""
