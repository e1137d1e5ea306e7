# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: example_model
short_description: Run a training example against the platform's MLflow
description:
  - Starts the script on the controller with C(MLFLOW_TRACKING_URI) and the service user's login in its environment;
    the server is reached through the API server.
  - The script gets the arguments C(train verify) and ends with one line of JSON, which becomes the result.
options:
  script:
    description: The Python script.
    type: path
    required: true
  kubeconfig:
    description: The kubeconfig whose current context is used; the client's default one if it is not given.
    type: path
  namespace:
    description: The namespace of MLflow.
    type: str
    required: true
  port:
    description: The port of MLflow's Service.
    type: int
    default: 5000
  credentials:
    description: The Secret with the user's C(username) and C(password).
    type: str
    default: mlflow-service
attributes:
  check_mode:
    support: none
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Train Iris, make it the champion, download and compare it
  mlops.platform.example_model:
    script: examples/iris/iris.py
    namespace: mlops
"""

RETURN = r"""
model:
  description: The URI of the model.
  returned: success
  type: str
  sample: models:/iris@champion
version:
  description: The version that has the alias.
  returned: success
  type: str
accuracy:
  description: The accuracy of the downloaded model on the held-out rows.
  returned: success
  type: float
"""
