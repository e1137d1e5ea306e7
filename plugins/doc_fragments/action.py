# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation of several modules says alike."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment `mlops.platform.action` and its parts."""

    DOCUMENTATION = r"""
attributes:
  action:
    description: It runs in the controller, as an action plugin.
    support: full
  check_mode:
    description: It can say what it would change and change nothing.
    support: full
"""

    COMPONENT = r"""
options:
  spec:
    description: The component as its role describes it, the C(component_spec) of the shared role.
    type: dict
    required: true
"""

    HOST = r"""
options:
  host:
    description: The marks of the node on the machine.
    type: dict
    required: true
    suboptions:
      state_dir:
        description: Directory of the data.
        type: path
        required: true
      run_dir:
        description: Directory of sockets and process state.
        type: path
        required: true
      cgroup:
        description: Name of the control group of all pods.
        type: str
        required: true
      device:
        description: Name of the network device of the node.
        type: str
        required: true
      address:
        description: IPv4 address of the node.
        type: str
        required: true
      network:
        description: Name of the CNI network.
        type: str
        required: true
      pod_cidr:
        description: Network of the pods.
        type: str
        required: true
      service_cidr:
        description: Network of the Services.
        type: str
        required: true
      worker:
        description: What a node beside the control plane has more, which lives in namespaces of its own.
        type: dict
        suboptions:
          control_plane:
            description: IPv4 address of the control plane.
            type: str
            required: true
          inside:
            description: Networks in which the node's own address is known.
            type: list
            elements: str
            required: true
          foreign:
            description: Directories of the cluster's other nodes, below which it keeps no mounts.
            type: list
            elements: path
            required: true
          binds:
            description: Its own directories, by the fixed places where programs look for them.
            type: dict
            required: true
"""
