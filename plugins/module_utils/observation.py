# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What watches a component: the rules and dashboards of its role as objects of the cluster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.manifests import Manifest

API = "monitoring.coreos.com/v1"
"""The group and version of what Prometheus's operator reads (https://prometheus-operator.dev/docs/api-reference/)."""
MONITORS = ("ServiceMonitor", "PodMonitor")
SELECTED = (*MONITORS, "Probe", "PrometheusRule")
"""The kinds that an operator finds by their labels."""
DASHBOARD_LABEL = "grafana_dashboard"
"""The label by which a Grafana in the cluster finds dashboards, as its chart's sidecar does."""
RUNBOOK = "runbook_url"
DOCUMENTATION = "https://github.com/mlops/platform/blob/main/docs/"
"""Where the documentation of galaxy.yml's repository is read: a runbook_url without a scheme is a page of it."""


def objects(component: Component, files: Path) -> list[Manifest]:
    """The PrometheusRule and the ConfigMaps of a component whose role has its files in `files`.

    Raises PlatformError for a file that is not what it must be; where there is none, nothing is made of it.
    """
    found: list[Manifest] = []
    rules = files / component.rules
    if component.rules and rules.is_file():
        found.append(_object(API, "PrometheusRule", component, component.name, spec=rule_groups(rules)))
    pages = files.glob(component.dashboards) if component.dashboards else ()
    for path in sorted(pages, key=lambda path: path.stem):
        name = f"{component.name}-{path.stem}"
        made = _object("v1", "ConfigMap", component, name, data={f"{name}.json": dashboard(path)})
        made["metadata"]["labels"] = {DASHBOARD_LABEL: "1"}
        found.append(made)
    return found


def _object(api_version: str, kind: str, component: Component, name: str, **content: Any) -> Manifest:
    metadata = {"name": name.replace("_", "-"), "namespace": component.namespace}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **content}


def rule_groups(path: Path) -> dict[str, Any]:
    """The groups of a file of rules, as promtool reads it, with whole URLs of runbooks."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        groups: list[dict[str, Any]] = content["groups"]
        alerts = [rule for group in groups for rule in group["rules"] if "alert" in rule]
        for annotations in filter(None, (alert.get("annotations") for alert in alerts)):
            if "://" not in annotations.get(RUNBOOK, "://"):
                annotations[RUNBOOK] = DOCUMENTATION + annotations[RUNBOOK]
    except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
        raise PlatformError(f"{path}: not a file of Prometheus's rules: {type(error).__name__}: {error}") from error
    return {"groups": groups}


def dashboard(path: Path) -> str:
    """A dashboard as one line of JSON. Raises PlatformError where it is none."""
    try:
        return json.dumps(json.loads(path.read_text(encoding="utf-8")), separators=(",", ":"))
    except ValueError as error:
        raise PlatformError(f"{path}: not JSON: {error}") from error


def selectable(manifests: Iterable[Manifest], labels: Mapping[str, str]) -> list[Manifest]:
    """`manifests` with the labels that an operator of a site's own selects by on those that it is to find."""
    return [_labelled(item, labels) if labels and item["kind"] in SELECTED else item for item in manifests]


def _labelled(manifest: Manifest, labels: Mapping[str, str]) -> Manifest:
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **labels}}}
