# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with the models that are asked for, before anything is asked of a registry or a cluster."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.inference_service import (
    METRICS,
    UTILIZATION,
    Serving,
    Settings,
    least_replicas,
    service_name,
)
from ansible_collections.mlops.platform.plugins.module_utils.preflight.values import nearest

Fault = tuple[str, Any, str]
"""Where, the value there, what is the matter: as preflight/values.py has them."""


def contradictions(
    models: Sequence[Mapping[str, Any]], serving: Serving, taken: Collection[str] = ()
) -> Iterator[Fault]:
    """What does not go together in entries of `platform_models` whose keys and types are right.

    `taken` are the host names (first labels) of the platform's own components.
    """
    names: dict[str, int] = {}
    for number, raw in enumerate(models):
        where = f"platform_models[{number}]"
        settings = Settings(**raw)
        yield from ((f"{where}.{key}", value, matter) for key, value, matter in _own(settings, serving))
        try:
            name = service_name(settings.name)
        except PlatformError as error:
            yield f"{where}.name", settings.name, str(error).partition(": ")[2]
            continue
        if name in taken:
            yield f"{where}.name", settings.name, f"{name}.{serving.domain} is the host of the component {name}"
        if name in names:
            other = f"platform_models[{names[name]}] is served as {name}, too"
            yield f"{where}.name", settings.name, f"{other}: remove one of them, or give one another name"
        names.setdefault(name, number)
        if settings.drift and "drift" not in taken:
            yield f"{where}.drift", True, "nothing compares what it logs: add the component drift, or say log_inputs"


def _own(settings: Settings, serving: Serving) -> Iterator[Fault]:
    """What is wrong with one model: key, value, matter."""
    if settings.alias and settings.version:
        yield "alias", settings.alias, f"version {settings.version} is asked for, too: allowed is one of the two"
    low = least_replicas(settings, serving)
    high = settings.max_replicas
    if high is not None and high < max(low, 1):
        yield "max_replicas", high, f"there are {low} at least; allowed is {max(low, 1)} or more"
    if low < 1 and serving.standard:
        yield "min_replicas", low, "nothing starts a Deployment again that has no pods; allowed is 1 or more"
    metric = settings.scale_metric or serving.scale_metric
    allowed = UTILIZATION if serving.standard else METRICS
    if metric not in allowed:
        yield "scale_metric", metric, f"allowed are {', '.join(allowed)}{nearest(metric, allowed)}"
    elif low < 1 and metric in UTILIZATION and not serving.standard:
        yield "scale_metric", metric, "an autoscaler that goes by it keeps one pod at least: set min_replicas to 1"
    if settings.rows and not Path(settings.rows).is_file():
        yield "rows", settings.rows, "there is no such file"
    yield from _logging(settings, serving)
    if not settings.runtime and not serving.mlflow_runtime:
        yield "runtime", settings.runtime, "kserve_mlflow_runtime_enabled is false: give a runtime of your own"


def _logging(settings: Settings, serving: Serving) -> Iterator[Fault]:
    """What is wrong with the log of what a model is given."""
    if settings.logs and settings.runtime:
        yield "runtime", settings.runtime, "what the model is given is logged by the platform's own runtime alone"
    if settings.logs and not serving.inputs.get("secret"):
        matter = "an external S3 needs kserve_inputs_secret: the Secret of a login that may write to kserve_inputs_uri"
        yield "drift" if settings.drift else "log_inputs", True, matter
    if not 1 <= settings.log_percent <= 100:
        yield "log_percent", settings.log_percent, "allowed are 1 to 100"
