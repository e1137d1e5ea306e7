# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: preflight
short_description: Check the inventory and this machine
description:
  - Holds the variables of the inventory against the descriptions of the roles, down to types, formats, names given
    twice and what does not go together, and this machine against what an embedded cluster wants of it.
  - Fails with all problems, a line each, that says where the value was set. Touches nothing but the directory of the
    run that it opens.
options:
  reports:
    description: The directory that holds the reports of runs; no run is opened if it is not given.
    type: path
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Check what would hurt before anything is touched
  mlops.platform.preflight:
    reports: "{{ platform_reports_directory }}"
  run_once: true
  register: platform_run
"""

RETURN = r"""
waves:
  description: The components in the order in which they can be provisioned.
  returned: success
  type: list
  elements: list
  sample: [[minio, postgresql], [mlflow]]
run_directory:
  description: Where the run's report goes.
  returned: success, where O(reports) is given
  type: str
"""
