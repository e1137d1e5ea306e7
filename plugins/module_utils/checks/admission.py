# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An admission webhook, asked by the API server about objects that nobody makes.

The API server carries out a dry run through all of admission and stores nothing
(https://kubernetes.io/docs/reference/using-api/api-concepts/#dry-run).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Check, CheckFailed
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster, Object
from ansible_collections.mlops.platform.plugins.module_utils.manifests import title


def dry_run(cluster: Cluster, manifest: Object) -> Object:
    """What the server would make of a new object. Raises ApiError with the words of what refuses it."""
    path = cluster.resource(manifest["apiVersion"], manifest["kind"]).path(manifest["metadata"].get("namespace"))
    found: Object = cluster.request("POST", path, query={"dryRun": "All"}, body=manifest)
    return found


@dataclass(frozen=True)
class WebhookCheck(Check):
    """The object `accepted` passes a dry run, and `refused` does not, because `webhook` denies it.

    Without the second the check would pass as well where nobody asks the webhook.
    """

    webhook: str
    accepted: Mapping[str, Any]
    refused: Mapping[str, Any]

    @property
    def target(self) -> str:
        return f"{self.service} {self.webhook}"

    def run(self, access: Access) -> tuple[object, object]:
        expected = f'{title(self.refused)} is denied by "{self.webhook}"'
        dry_run(access.cluster, _renamed(self.accepted))
        try:
            dry_run(access.cluster, _renamed(self.refused))
        except ApiError as error:
            if f'admission webhook "{self.webhook}" denied the request' not in str(error):
                raise
            return expected, expected
        raise CheckFailed(f"the API server does not ask {self.webhook}: it would take what is wrong", "taken", expected)


def _renamed(manifest: Mapping[str, Any]) -> Object:
    """The object under a name that is nobody's."""
    metadata = manifest["metadata"]
    return {**manifest, "metadata": {**metadata, "name": f"{metadata['name']}-{secrets.token_hex(4)}"}}
