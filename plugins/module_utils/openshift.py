# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a cluster is OpenShift: it has Routes, which its own routers serve."""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

from ansible_collections.mlops.platform.plugins.module_utils.cluster import Cluster, connect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError

GROUP = "route.openshift.io"
ASK_SECONDS = 5.0
"""For one answer; whoever needs the cluster for more finds out whether it is there."""


@functools.lru_cache(maxsize=4)
def is_openshift(kubeconfig: str | None) -> bool:
    """Whether the cluster of a kubeconfig is OpenShift; False where there is none, or none yet."""
    try:
        cluster = connect(kubeconfig)
        groups = {item["name"] for item in cluster.request("GET", "/apis", timeout=ASK_SECONDS)["groups"]}
        return GROUP in groups and has_routes(cluster)
    except PlatformError:
        return False


def has_routes(cluster: Cluster) -> bool:
    """Whether OpenShift's own client finds the kind Route. Imported here: plain Kubernetes needs nothing of it."""
    from openshift.dynamic import DynamicClient
    from openshift.dynamic.exceptions import ResourceNotFoundError

    with tempfile.TemporaryDirectory(prefix="mlops-platform-") as folder:
        client = DynamicClient(cluster.api_client, cache_file=str(Path(folder) / "discovery"))
        try:
            client.resources.get(api_version=f"{GROUP}/v1", kind="Route")
        except ResourceNotFoundError:
            return False
    return True
