# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: local_cluster_files
short_description: Write a tree of small files
description:
  - Writes the configuration of a local cluster in one task. Files have mode 0600 and replace older ones at once.
options:
  directory:
    description: The directory (mode 0700).
    type: path
    required: true
  closed_directories:
    description: Other directories that must be there and that only root may enter.
    type: list
    elements: path
    default: []
  files:
    description: Contents by the path inside the directory.
    type: dict
    required: true
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Configure the registry
  mlops.platform.local_cluster_files:
    directory: /var/lib/mlops-platform/mlops/config
    files:
      registry.yml: "{{ lookup('ansible.builtin.template', 'config/registry.yml.j2') }}"
"""

RETURN = r"""
written:
  description: The files and directories that were made or changed.
  returned: success
  type: list
  elements: str
"""
