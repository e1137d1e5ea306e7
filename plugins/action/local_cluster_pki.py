# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action `local_cluster_pki`: see plugins/modules/local_cluster_pki.py."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import pki
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster.files import make_directory, write_file
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction


class ActionModule(PlatformAction):
    """Makes and renews the certificates, keys and kubeconfigs of a cluster."""

    PHASE = "cluster"
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "directory": {"type": "path", "required": True},
        "cluster": {"type": "str", "required": True},
        "server": {"type": "str", "required": True},
        "authorities": {"type": "list", "elements": "str", "required": True},
        "identities": {"type": "dict", "required": True},
        "pairs_directory": {"type": "path"},
        "valid_days": {"type": "int", "required": True},
        "renew_days": {"type": "int", "required": True},
    }

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        directory = Path(arguments["directory"])
        pairs = Path(arguments["pairs_directory"] or directory)
        made = make_directory(directory, mode=0o700, dry_run=self.check_mode)
        written = pki.ensure_pki(
            directory,
            arguments["authorities"],
            {name: _identity(name, item, arguments["authorities"]) for name, item in arguments["identities"].items()},
            cluster=arguments["cluster"],
            now=datetime.now(UTC),
            valid=timedelta(days=arguments["valid_days"]),
            renew=timedelta(days=arguments["renew_days"]),
            pairs=pairs,
            dry_run=self.check_mode,
        )
        for name, item in arguments["identities"].items():
            if item.get("kubeconfig") and self._write_kubeconfig(pairs / f"{name}.pem", item, arguments):
                written[item["kubeconfig"]] = "kubeconfig"
        return {"changed": made or bool(written), "written": written}

    def _write_kubeconfig(self, file: Path, item: dict[str, Any], arguments: dict[str, Any]) -> bool:
        authority = Path(arguments["directory"]) / f"{item['authority']}.crt"
        pair = pki.read_pair(file)
        if pair is None or not authority.exists():  # only in check mode, on a machine without a cluster
            return True
        content = pki.kubeconfig(
            pair,
            authority.read_bytes(),
            server=str(arguments["server"]),  # str() takes off Ansible's tags, which YAML cannot write
            cluster=str(arguments["cluster"]),
            user=str(item["common_name"]),
        )
        return write_file(Path(item["kubeconfig"]), content, dry_run=self.check_mode)


def _identity(name: str, item: dict[str, Any], authorities: list[str]) -> pki.Identity:
    if item["authority"] not in authorities:
        raise PlatformError(f"identity {name}: authority {item['authority']!r} is not one of {', '.join(authorities)}")
    return pki.Identity(
        authority=item["authority"],
        common_name=item["common_name"],
        organization=item.get("organization", ""),
        server_names=tuple(item.get("server_names", ())),
    )
