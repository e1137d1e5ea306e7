# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The platform's own authority: the certificate of a ClusterIssuer of cert-manager that signs with a CA."""

from __future__ import annotations

from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError, Cluster

API = "cert-manager.io/v1"


def authority(cluster: Cluster, issuer: str) -> str:
    """The certificate (PEM) of the authority that a ClusterIssuer signs with.

    Empty where there is no such issuer, or one that signs otherwise: whose certificates others vouch for.
    """
    try:
        found = cluster.get(API, "ClusterIssuer", issuer)
        spaces = {item["metadata"]["namespace"] for item in cluster.list(API, "Certificate")}
    except ApiError as error:
        if error.status != 404:  # 404: there is no cert-manager
            raise
        return ""
    name = str(((found or {}).get("spec", {}).get("ca") or {}).get("secretName") or "")
    for space in sorted(spaces) if name else ():
        if secret := cluster.secret(name, space):
            return secret.get("tls.crt", "")
    return ""
