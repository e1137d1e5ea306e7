# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the action plugin of the same name."""

DOCUMENTATION = r"""
module: dashboards
short_description: Draw the dashboards of the components from a live Prometheus
description:
  - Reads the dashboards (Grafana's JSON, C(files/monitoring/dashboard*.json)) of the roles of all components in the
    inventory, asks Prometheus what their panels show, and draws all of them into one page, C(dashboards.html), that
    needs nothing but itself.
  - The page goes beside the report of the run, or of the newest run where none is open.
  - Fails where a panel cannot be drawn, or where Prometheus refuses its query. A panel without data is no failure.
options:
  service:
    description: Where Prometheus answers, C({name, port, namespace}) in the cluster or C({url, variable}) elsewhere.
    type: dict
    required: true
  kubeconfig:
    description: Path of the kubeconfig of the cluster.
    type: str
  authorities:
    description: Certificates (PEM), or the path of a file of them, that are trusted besides the public ones.
    type: str
    default: ""
  reports:
    description: The directory that holds the reports of runs.
    type: path
    required: true
  minutes:
    description: The time that charts show, where Prometheus has seen as much.
    type: int
    default: 60
  wait_seconds:
    description: How long to wait for the second scrape of what was first scraped a moment ago; rates need it.
    type: int
    default: 0
extends_documentation_fragment:
  - mlops.platform.action
author: The mlops.platform maintainers (@mlops)
"""

EXAMPLES = r"""
- name: Draw the dashboards
  mlops.platform.dashboards:
    service: {name: prometheus, port: 9090, namespace: monitoring}
    reports: reports
"""

RETURN = r"""
page:
  description: The name of the page in the directory of the run.
  returned: success
  type: str
  sample: dashboards.html
panels:
  description: The number of panels.
  returned: success
  type: int
empty:
  description: The queries that gave no number, a line each.
  returned: success
  type: list
  elements: str
firing:
  description: The names of the alerts that fire, the gravest first.
  returned: success
  type: list
  elements: str
"""
