# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: model
short_description: Serve a registered model and prove it by its predictions
description:
  - Resolves the alias through MLflow to the model's place in S3, creates or updates its InferenceService and its route
    at the edge, waits until it is served, and compares what it predicts for held-out rows with what the model itself
    predicts in a process of the controller.
  - What cannot be served is refused before anything is touched.
  - Where the description says so, a new version of a model that is served gets its requests step by step, as the
    variables C(release_*) say, or none where a step cannot be proven. An experiment, as C(experiment_*) say, decides
    whether it gets them all.
options:
  model:
    description: One of the models that M(mlops.platform.models) returns.
    type: dict
    required: true
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Serve the model
  mlops.platform.model:
    model: "{{ platform_model }}"
"""

RETURN = r"""
component:
  description: The model as the report has it, with the version that is served.
  returned: always
  type: dict
objects:
  description: What was done to its objects.
  returned: when it was served or removed
  type: dict
run_id:
  description: The run of MLflow that logged the version.
  returned: when it was served
  type: str
checks:
  description: What its checks observed.
  returned: when it was served or validated
  type: list
  elements: dict
release:
  description: From which version to which one, what each step has shown, and what is to be known of aliases.
  returned: when a version was released
  type: dict
experiment:
  description: What an experiment measured and decided, and where it is recorded in MLflow; its plot is in the report.
  returned: when versions were compared by metrics
  type: dict
access:
  description: Its URL, and a request that can be sent as it is.
  returned: when it is healthy
  type: list
  elements: str
"""
