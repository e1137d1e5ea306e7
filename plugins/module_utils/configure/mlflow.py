# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MLflow: the users that its built-in authentication knows."""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, CheckFailed
from ansible_collections.mlops.platform.plugins.module_utils.checks.mlflow import MlflowApi
from ansible_collections.mlops.platform.plugins.module_utils.configure.base import Step


@dataclass(frozen=True)
class MlflowUserStep(Step):
    """The user of the Secret `credentials` exists with its password; `admin` is the Secret of the administrator."""

    admin: str
    credentials: str

    def apply(self, access: Access, check_mode: bool) -> list[str]:
        url = access.url(self.service)
        username, password = access.secret(self.credentials, "username", "password")
        try:
            MlflowApi(url, username, password).call("GET", "users/current")
            return []
        except CheckFailed as error:
            if error.observed != 401:
                raise
        admin = MlflowApi(url, *access.secret(self.admin, "username", "password"))
        try:
            admin.call("GET", "users/get", username=username)
        except CheckFailed as unknown:
            if unknown.observed != 404:
                raise
            if not check_mode:
                admin.call("POST", "users/create", username=username, password=password)
            return [f"user {username} created"]
        if not check_mode:
            admin.call("PATCH", "users/update-password", username=username, password=password)
        return [f"password of user {username} set"]
