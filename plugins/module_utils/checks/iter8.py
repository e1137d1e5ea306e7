# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Iter8: an A/B test with users of its own, and the routemaps that were declared."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils import iter8
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    PROBE_LABEL,
    Access,
    Check,
    CheckFailed,
    Service,
    abandoned,
    expect,
)
from ansible_collections.mlops.platform.plugins.module_utils.cluster import Object
from ansible_collections.mlops.platform.plugins.module_utils.waiting import complaint

USERS = tuple(f"user-{number}" for number in range(20))
"""So many that all of them have the same of two versions in one of half a million starts of Iter8."""
METRIC = "probe"
PATIENCE_SECONDS = 12.0
"""How long Iter8 may take to follow new objects: it hears of them by watches, or at its next try to read them."""
PAUSE_SECONDS = 0.1
"""Between two questions: nothing tells what Iter8 has heard but its answers."""
NOBODY = "routemap not found"
"""How it refuses an application that it does not know (abn/service_impl.go)."""


@dataclass(frozen=True)
class Iter8Check(Check):
    """A check that asks Iter8; `service` is its port for look-ups."""

    service: Service

    def asked(self, access: Access, application: str) -> AbstractContextManager[iter8.Iter8]:
        """A client for an application."""
        summaries = Service(self.service.name, iter8.HTTP_PORT, self.service.namespace)
        return iter8.Iter8.at(access.address(self.service), access.address(summaries), application)

    def complaint(self, access: Access) -> str:
        """The last complaint of the pod, as the end of a sentence; "" where it has none."""
        space, name = self.service.namespace or access.namespace, self.service.name
        for pod in access.cluster.list("v1", "Pod", space, f"app.kubernetes.io/name={name}"):
            if told := complaint(access.cluster.last_lines(pod, name, lines=50)):
                return f"; {pod['metadata']['name']} says: {told}"
        return ""


@dataclass(frozen=True)
class Iter8UsersCheck(Iter8Check):
    """Users of a new application get one of its two versions, the same each time, and what they bring counts for it.

    The application is a routemap in the namespace `watched`, its versions ConfigMaps there. All of it is removed at the
    end; what was counted nobody can ask for then, and Iter8 forgets it within a day. An application that is not there
    is refused.
    """

    watched: str

    def run(self, access: Access) -> tuple[object, object]:
        with self._made(access) as name, self.asked(access, f"{self.watched}/{name}") as client:
            versions = self._shared_out(access, client)
            again = {user: client.lookup(user) for user in USERS}
            expect(again, versions, "users who are looked up again get another version")
            for value, user in enumerate(USERS):
                client.write_metric(user, METRIC, value)
            wanted = {version: _counted(versions, version) for version in (0, 1)}
            counted = client.summary().get(METRIC, {})
            found = {version: (item.count, round(item.mean, iter8.DECIMALS)) for version, item in counted.items()}
            if found != wanted:
                said = f"{len(USERS)} values were written, and others counted (number and mean by version)"
                raise CheckFailed(f"{said}: {found}, not {wanted}{self.complaint(access)}", found, wanted)
            self._refused(access, f"{self.watched}/{name}-absent")
        shares = " and ".join(str(count) for count, _ in wanted.values())
        both = f"{shares} users of two versions, each counted for the own one"
        return both, both

    @contextlib.contextmanager
    def _made(self, access: Access) -> Iterator[str]:
        """The name of an application of two versions; it is removed at the end, like those that a killed run left."""
        path = access.cluster.resource("v1", "ConfigMap").path(self.watched)
        for item in access.cluster.list("v1", "ConfigMap", self.watched, f"{PROBE_LABEL}=true"):
            if abandoned(item):
                access.cluster.delete("v1", "ConfigMap", item["metadata"]["name"], self.watched)
        name = f"iter8-probe-{secrets.token_hex(3)}"
        parts = [f"{name}-{version}" for version in (0, 1)]
        versions = [
            {"resources": [{"gvrShort": "cm", "name": part, "namespace": self.watched}], "weight": 1} for part in parts
        ]
        objects = [_config_map(part, {iter8.WATCH_LABEL: iter8.WATCHED}, {}) for part in parts]
        objects.append(_config_map(name, iter8.ROUTEMAP_LABELS, {"strSpec": json.dumps({"versions": versions})}))
        try:
            for item in objects:
                access.cluster.request("POST", path, body=item)
            yield name
        finally:
            for item in reversed(objects):
                access.cluster.delete("v1", "ConfigMap", item["metadata"]["name"], self.watched)

    def _shared_out(self, access: Access, client: iter8.Iter8) -> dict[str, int]:
        """The version of each user, once both are given. Raises CheckFailed where they are not in time."""
        deadline = min(access.deadline, time.monotonic() + PATIENCE_SECONDS)
        while True:
            try:
                found = {user: client.lookup(user) for user in USERS}
                if set(found.values()) == {0, 1}:
                    return found
                said: object = sorted(set(found.values()))
                cause = f"all users get version {said} of two that are there"
            except iter8.Iter8Error as error:
                said = cause = str(error)
            if time.monotonic() + PAUSE_SECONDS > deadline:
                raise CheckFailed(
                    f"Iter8 does not follow a new routemap: {cause}{self.complaint(access)}", said, [0, 1]
                )
            time.sleep(PAUSE_SECONDS)

    def _refused(self, access: Access, application: str) -> None:
        with self.asked(access, application) as client:
            try:
                found = client.lookup(USERS[0])
            except iter8.Iter8Error as error:
                if NOBODY not in str(error):
                    raise
                return
        raise CheckFailed(f"{application} is not there, and a user gets version {found} of it", found, NOBODY)


@dataclass(frozen=True)
class Iter8RoutemapCheck(Iter8Check):
    """Iter8 knows an application ("namespace/name"), and sees what its versions are made of, as far as it is there.

    `versions` are those of the routemap, each with `objects` of a type and a name; `types` say what these are. Nobody
    is looked up: that would count for a user.
    """

    application: str
    versions: Sequence[Mapping[str, Any]]
    types: Sequence[Mapping[str, str]]

    @property
    def target(self) -> str:
        return f"{self.service} {self.application}"

    def run(self, access: Access) -> tuple[object, object]:
        with self.asked(access, self.application) as client:
            client.summary()
        there = [number for number, version in enumerate(self.versions) if self._there(access, version["objects"])]
        return f"known, versions that are there: {there}", f"known, {len(self.versions)} versions at most"

    def _there(self, access: Access, objects: Sequence[Mapping[str, str]]) -> bool:
        """Whether all objects of a version are there. Raises CheckFailed for one that Iter8 does not see."""
        space, _, _ = self.application.partition("/")
        for item in objects:
            found = iter8.label(access.cluster, iter8.path(space, item, self.types))
            if found is None:
                return False
            said = (
                f"Iter8 does not see {item['type']} {space}/{item['name']}: its label {iter8.WATCH_LABEL} is {found!r}"
            )
            expect(found, iter8.WATCHED, said)
        return True


def _config_map(name: str, labels: Mapping[str, str], data: Mapping[str, str]) -> Object:
    metadata = {"name": name, "labels": {PROBE_LABEL: "true", **labels}}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": dict(data), "immutable": True}


def _counted(versions: Mapping[str, int], version: int) -> tuple[int, float]:
    """How many values users of a version brought, and their mean, where each brings its place in USERS."""
    values = [value for value, user in enumerate(USERS) if versions[user] == version]
    return len(values), round(sum(values) / len(values), iter8.DECIMALS)
