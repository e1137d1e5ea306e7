# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a machine says of its GPUs; its logic is in plugins/module_utils/gpu_host.py."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.mlops.platform.plugins.module_utils import gpu_host

DOCUMENTATION = r"""
module: gpu_host
short_description: What a machine says of its GPUs
description:
  - Tells which of NVIDIA's devices are on the PCI bus, which driver is loaded, and what it calls them. Changes nothing.
options:
  root:
    description: The folder with the file systems C(sys) and C(proc).
    type: path
    default: /
attributes:
  check_mode:
    description: Can run in check mode and return status prediction without modifying the target.
    support: full
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: See what the machine has
  mlops.platform.gpu_host:
  register: gpu_host
"""

RETURN = r"""
devices:
  description: The addresses of NVIDIA's devices on the PCI bus.
  returned: success
  type: list
  elements: str
driver:
  description: The version of the driver that is loaded, empty where none is.
  returned: success
  type: str
products:
  description: What the driver calls the GPUs.
  returned: success
  type: list
  elements: str
"""


def main() -> None:
    """Tell what there is."""
    module = AnsibleModule({"root": {"type": "path", "default": "/"}}, supports_check_mode=True)
    module.exit_json(changed=False, **gpu_host.found(Path(module.params["root"])))


if __name__ == "__main__":
    main()
