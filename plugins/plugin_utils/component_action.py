# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the actions on components share: the typed component, its cluster, and its place in the run."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleError
from ansible.template import trust_as_template
from ansible_collections.mlops.platform.plugins.module_utils import certificates, events, observation
from ansible_collections.mlops.platform.plugins.module_utils import cluster as kubernetes
from ansible_collections.mlops.platform.plugins.module_utils import manifests as yaml_manifests
from ansible_collections.mlops.platform.plugins.module_utils.component import Component
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError, without_login
from ansible_collections.mlops.platform.plugins.module_utils.health import evidence
from ansible_collections.mlops.platform.plugins.module_utils.pods import PodSettings, furnish, registry_secret
from ansible_collections.mlops.platform.plugins.module_utils.report import write
from ansible_collections.mlops.platform.plugins.module_utils.upstream import Upstream, patch, read
from ansible_collections.mlops.platform.plugins.module_utils.usage import usage
from ansible_collections.mlops.platform.plugins.module_utils.waiting import NotReady
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction

TEMPLATES = "*.y*ml.j2"
LOOK_SECONDS = 0.1
REPEAT_SECONDS = 10


class ComponentAction(PlatformAction):
    """An action on the component that `spec` describes."""

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {"spec": {"type": "dict", "required": True}}

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Read the component and act on it; the result says which one it was."""
        self.component = parsed(arguments["spec"])
        self.task_vars = task_vars
        self._pull_with_login()
        about = {"name": self.component.name, "version": self.component.version, "namespace": self.component.namespace}
        try:
            return {"component": about, **self.act(arguments)}
        except NotReady as error:
            found = {
                "evidence": evidence(self.cluster(), self.component),
                **usage(self.cluster(), self.component.name, self.component.spaces),
            }
            message = f"{self.component.name}: {error}"
            return {"component": about, "failed": True, "msg": message, **found, **error.details}
        except PlatformError as error:
            error.details["component"] = about
            raise

    def act(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Do the action for `self.component` and return an Ansible result."""
        raise NotImplementedError

    def cluster(self) -> kubernetes.Cluster:
        """The cluster of the variable platform_kubeconfig."""
        path = self.variable("platform_kubeconfig")
        return kubernetes.connect(str(path) if path else None)

    def authorities(self) -> str:
        """The certificates (PEM) of the variable platform_ca_certificates."""
        return certificates.read(str(self.variable("platform_ca_certificates") or ""))

    def variable(self, name: str) -> Any:
        """The value of a variable of the component's host, as plain data; None where it is not set."""
        return json.loads(json.dumps(self._templar.template(self.task_vars.get(name))))

    def _pull_with_login(self) -> None:
        """Note with which Secret images are pulled; one is made where the registry's login is declared."""
        names = [self.variable("platform_image_pull_secret")]
        username = self.variable("platform_image_registry_username")
        if username and not self.component.observes:  # which has no pods
            registry = str(self.variable("platform_image_registry"))
            password = str(self.variable("platform_image_registry_password"))
            made = registry_secret(self.component, registry, str(username), password)
            self.component = dataclasses.replace(self.component, secrets=(*self.component.secrets, made))
            names.append(made.name)
        self.pull_secrets = [str(name) for name in names if name]

    def say(self, message: str, **fields: object) -> None:
        """Show progress under the component's name."""
        self.progress(self.component.name, message, **fields)

    def render(self) -> list[dict[str, Any]]:
        """The component's manifests: its own and those of upstream, patched; furnished, stamped and in order."""
        if not self.component.wanted:
            return []
        roles = self.task_vars.get("ansible_parent_role_paths") or []
        if not roles:
            raise PlatformError(f"component_spec of {self.component.name}: include the role component from a role")
        folder = Path(roles[0]) / "templates" / self.component.templates
        own = self._rendered(folder)
        if self.component.observes and not own:
            return []  # what is somebody else's is watched by somebody else
        own += observation.objects(self.component, Path(roles[0]) / "files")
        if not own and not self.component.upstream:
            raise PlatformError(f"component_spec of {self.component.name}: no template {TEMPLATES} in {folder}")
        own = observation.selectable(own, self.variable("platform_monitor_labels") or {})
        found = [*own, *patch(self._upstream(), self.patches(), f"component_spec of {self.component.name}")]
        yaml_manifests.refuse_doubles(found, f"component_spec of {self.component.name}")
        settings = PodSettings(**(self.variable("__component_pods") or {}), pull_secrets=self.pull_secrets)
        return yaml_manifests.stamp(furnish(found, settings), self.component.name, self.component.version)

    def unwatched(self) -> str:
        """Why there is nobody yet who would read what watches a component; empty where there is.

        Raises PlatformError where the inventory names somebody who is not there.
        """
        kind = (observation.API, "PodMonitor")
        if not self.component.observes or kind in self.cluster().resources:
            return ""
        if url := self.variable("platform_prometheus_url"):
            raise PlatformError(
                f"platform_prometheus_url is {without_login(url)}, and the cluster does not know {kind[1]} "
                f"of {kind[0]}: install the operator of that Prometheus here, or empty the variable"
            )
        return f"{self.component.observes} is not watched: monitoring has not been provisioned yet"

    def patches(self) -> list[dict[str, Any]]:
        """What the role changes of upstream's objects."""
        if not self.component.upstream:
            return []
        return self._rendered(Path(self.task_vars["ansible_parent_role_paths"][0]) / "patches")

    def _upstream(self) -> list[dict[str, Any]]:
        """The objects of other projects that belong to the component."""
        cache = Path(str(self.variable("platform_cache_dir") or "~/.cache/mlops-platform")).expanduser()
        wanted = [Upstream.parse(raw, self.component.name) for raw in self.component.upstream]
        return [found for item in wanted for found in read(item, cache, self.say, self.authorities())]

    def _rendered(self, folder: Path) -> list[dict[str, Any]]:
        """The objects that the templates of a folder make."""
        shared = Path(__file__).parents[2] / "roles" / "component" / "templates"
        templar = self._templar.copy_with_new_env(
            searchpath=[str(folder), str(shared)], available_variables=self.task_vars
        )
        found: list[dict[str, Any]] = []
        for path in sorted(path for path in folder.glob(TEMPLATES) if not path.name.startswith("_")):
            text = trust_as_template(path.read_text(encoding="utf-8"))
            try:
                rendered = templar.template(text, escape_backslashes=False)
            except AnsibleError as error:
                raise PlatformError(f"{path.name} of {self.component.name}: {error.message}") from error
            found += yaml_manifests.parse(str(rendered or ""), path.name)
        return found

    def await_requirements(self) -> None:
        """Return when every component that this one builds on or comes after, and this run provisions, is done.

        Raises PlatformError as soon as one of them has failed.
        """
        directory = run_directory(self.task_vars)
        in_run = set(self.task_vars.get("ansible_play_hosts_all") or [])
        needs = sorted(in_run.intersection({*self.component.requires, *self.component.after}))
        if directory is None or not needs:
            return
        with events.phase(self.component.name, "wait", waits_for=needs):
            said = time.monotonic()
            while waiting := [need for need in needs if not self._proven(directory, need)]:
                if waiting != needs or time.monotonic() - said >= REPEAT_SECONDS:
                    said = time.monotonic()
                    self.say(f"waits for {', '.join(waiting)}", waits_for=waiting)
                needs = waiting
                time.sleep(LOOK_SECONDS)

    def _proven(self, directory: Path, need: str) -> bool:
        """Whether a required component is done. Raises PlatformError where it failed."""
        marker = marker_path(directory, need)
        if not marker.exists():
            return False
        if not json.loads(marker.read_text(encoding="utf-8"))["healthy"]:
            relation = "requires" if need in self.component.requires else "comes after"
            message = f"{self.component.name} {relation} {need}, which failed: it was not touched"
            raise PlatformError(message, blocked_by=need)
        return True


def parsed(spec: dict[str, Any]) -> Component:
    """The component that a task's argument describes."""
    # Plain data: templated values carry ansible-core's own types of strings and numbers.
    return Component.parse(json.loads(json.dumps(spec)))


def run_directory(task_vars: dict[str, Any]) -> Path | None:
    """The directory of the run that the playbook's preflight opened; None where a role is used without it."""
    found = (task_vars.get("platform_run") or {}).get("run_directory")
    return Path(found) if found else None


def marker_path(directory: Path, component: str) -> Path:
    """The file that tells the other components of a run that `component` is done."""
    return directory / "components" / f"{component}.json"


def mark(task_vars: dict[str, Any], component: str, healthy: bool) -> None:
    """Tell the other components of this run how `component` ended."""
    directory = run_directory(task_vars)
    if directory:
        write(marker_path(directory, component), {"healthy": healthy})
