# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Iter8: what versions are made of carries the label by which Iter8 sees it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils import iter8
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step


@dataclass(frozen=True)
class Iter8Step(Step):
    """`objects` {type, name} in the namespace `watched` get the label, as far as they are there.

    `types` say of each type its {name, group, version, resource}.
    """

    watched: str
    objects: Sequence[Mapping[str, str]]
    types: Sequence[Mapping[str, str]]

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        changes: list[str] = []
        for item in self.objects:
            path = iter8.path(self.watched, item, self.types)
            label = iter8.label(access.cluster, path)
            if label in (None, iter8.WATCHED):
                continue
            changes.append(f"{item['type']} {self.watched}/{item['name']} labelled {iter8.WATCH_LABEL}")
            if not check_mode:
                body = {"metadata": {"labels": {iter8.WATCH_LABEL: iter8.WATCHED}}}
                access.cluster.request("PATCH", path, body=body, content_type="application/merge-patch+json")
        return changes
