# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw the dashboards of an inventory's components from a live Prometheus into one page beside the report."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils import certificates
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, parse_endpoint
from ansible_collections.mlops.platform.plugins.module_utils.checks.prometheus import asked
from ansible_collections.mlops.platform.plugins.module_utils.cluster import connect
from ansible_collections.mlops.platform.plugins.module_utils.dashboards import query
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.draw import Health, draw
from ansible_collections.mlops.platform.plugins.module_utils.dashboards.model import Dashboard, of_role
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import Forwards
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import Prometheus
from ansible_collections.mlops.platform.plugins.module_utils.report import new_run_directory, write_text
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction
from ansible_collections.mlops.platform.plugins.plugin_utils.component_action import run_directory
from ansible_collections.mlops.platform.plugins.plugin_utils.inventory_check import Inventory

PAGE = "dashboards.html"
MONITORING = "monitoring"
"""The component to which Prometheus belongs."""
OVERVIEW = "overview"
"""The tag of a dashboard that comes before the others."""
LOOK_SECONDS = 5


class ActionModule(PlatformAction):
    """See plugins/modules/dashboards.py for the documentation."""

    PHASE = "dashboards"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "service": {"type": "dict", "required": True},
        "kubeconfig": {"type": "str"},
        "authorities": {"type": "str", "default": ""},
        "reports": {"type": "path", "required": True},
        "minutes": {"type": "int", "default": 60},
        "wait_seconds": {"type": "int", "default": 0},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        inventory = Inventory.of(self, task_vars)
        dashboards = [found for name, role in inventory.folders.items() for found in of_role(role, name)]
        dashboards.sort(key=lambda item: OVERVIEW not in item.tags)
        if not dashboards:
            raise PlatformError("no component of the inventory has a dashboard: there is nothing to draw")
        service = parse_endpoint(arguments["service"], "dashboards")
        cluster = connect(arguments["kubeconfig"])
        host = str(task_vars["inventory_hostname"])
        authorities = certificates.read(arguments["authorities"])
        with Forwards(cluster) as forwards, certificates.trusted(authorities) as ca_file:
            access = Access(cluster, forwards, "", ca_file)
            try:
                with asked(access, service) as prometheus:
                    answers = self._ask(dashboards, prometheus, arguments, host)
                    health = Health(prometheus.targets(), prometheus.rules(), prometheus.alerts())
            except (urllib3.exceptions.HTTPError, PlatformError) as error:
                said = str(error) if isinstance(error, PlatformError) else str(access.trouble(service) or error)
                if MONITORING in {*task_vars["ansible_play_hosts_all"]} - {*task_vars["ansible_play_hosts"]}:
                    return {"changed": False, "skipped": True, "msg": said}  # its failure is told already
                raise PlatformError(f"Prometheus at {service}: {said}") from error
        page = _directory(task_vars, Path(arguments["reports"])) / PAGE
        write_text(page, draw(dashboards, answers, health, time.time()))
        if answers.errors:
            lines = "\n".join(f"- {line}" for line in answers.errors)
            raise PlatformError(f"{len(answers.errors)} queries of dashboards were refused:\n{lines}")
        firing = [alert.name for alert in health.firing]
        return {"changed": False, "page": PAGE, "panels": len(answers.all), "empty": answers.empty, "firing": firing}

    def _ask(
        self, dashboards: list[Dashboard], prometheus: Prometheus, arguments: dict[str, Any], host: str
    ) -> query.Answers:
        """The answers for all panels, as soon as what was scraped for the first time a moment ago has rates."""
        begun = time.monotonic()
        while True:
            span = query.span(prometheus, time.time(), 60 * arguments["minutes"])
            answers = query.ask(dashboards, prometheus, span)
            waited = time.monotonic() - begun
            if not answers.empty or waited > arguments["wait_seconds"] or not query.young(prometheus, span):
                return answers
            self.progress(host, f"{len(answers.empty)} queries wait for the next scrape, {waited:.0f} s")
            time.sleep(LOOK_SECONDS)


def _directory(task_vars: dict[str, Any], reports: Path) -> Path:
    """Where the page goes: beside the report of this run, or of the newest one."""
    latest = reports / "latest"
    return run_directory(task_vars) or (latest if latest.is_dir() else new_run_directory(reports, time.time()))
