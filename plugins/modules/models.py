# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: models
short_description: Say what a run has to do to each model
description:
  - Compares the models of C(platform_models), those that are asked for besides, and those that are served, and returns
    a description of each for M(mlops.platform.model).
  - Models that were served because the inventory declared them, and that it declares no more, are to be removed. Those
    that were deployed by hand are left alone.
options:
  verb:
    description:
      - What is to be done; C(release) is C(provision) step by step, for what is served already, and C(experiment) is a
        release that is decided by metrics.
    type: str
    choices: [provision, validate, remove, release, experiment]
    default: provision
  gate:
    description: What a release must pass besides its own checks; C(metrics) is that an experiment finds it no worse.
    type: str
    default: ""
  asked:
    description:
      - Models besides those of the inventory, in the form of C(platform_models); those of the inventory with other
        settings.
    type: list
    elements: dict
    default: []
  alone:
    description: Whether only the models that are asked for are touched.
    type: bool
    default: false
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Find what is to be served
  mlops.platform.models:
    asked: [{name: iris, alias: champion}]
    alone: true
  register: platform_served
"""

RETURN = r"""
models:
  description: A description of each model, for M(mlops.platform.model), and the name that the run gives it (C(host)).
  returned: success
  type: list
  elements: dict
"""
