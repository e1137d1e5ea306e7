# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter `is_openshift`."""

from __future__ import annotations

from collections.abc import Callable

from ansible_collections.mlops.platform.plugins.module_utils import openshift

DOCUMENTATION = r"""
name: is_openshift
short_description: Whether a cluster is OpenShift
description:
  - Asks the cluster of a kubeconfig whether it serves Routes, and confirms it with the client of the Python package
    C(openshift), which plain Kubernetes does not need.
  - A cluster that does not answer, or is not there yet, is none.
options:
  _input:
    description: The path of the kubeconfig, whose current context is used.
    type: path
    required: true
author:
  - The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Show whether the cluster is OpenShift
  ansible.builtin.debug:
    msg: "{{ platform_kubeconfig | mlops.platform.is_openshift }}"
"""

RETURN = r"""
_value:
  description: Whether it is.
  type: bool
"""


def is_openshift(kubeconfig: str) -> bool:
    """Whether the cluster of `kubeconfig` is OpenShift."""
    return openshift.is_openshift(str(kubeconfig))


class FilterModule:
    """What Ansible asks for the filters of this file."""

    def filters(self) -> dict[str, Callable[..., bool]]:
        """The filters by name."""
        return {"is_openshift": is_openshift}
