# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An HTTP request whose status and body are what they must be."""

from __future__ import annotations

from dataclasses import dataclass

import requests
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    expect,
)


@dataclass(frozen=True)
class HttpCheck(Check):
    """GET `path`; the answer has `status` and its body contains `contains`.

    `basic_auth` names a Secret with keys `username` and `password` to log in with.
    """

    path: str = "/"
    status: int = 200
    contains: str = ""
    basic_auth: str = ""

    @property
    def target(self) -> str:
        return f"{self.service}{self.path}"

    def run(self, access: Access) -> tuple[object, object]:
        login = access.secret(self.basic_auth, "username", "password") if self.basic_auth else None
        answer = requests.get(
            access.url(self.service) + self.path,
            auth=(login[0], login[1]) if login else None,
            timeout=REQUEST_SECONDS,
            allow_redirects=False,
            verify=access.ca_file or True,
        )
        expect(answer.status_code, self.status, f"GET {self.path} answered {answer.status_code}: {answer.text[:200]}")
        if self.contains not in answer.text:
            raise CheckFailed(f"GET {self.path} answered without {self.contains!r}", answer.text[:200], self.contains)
        return answer.status_code, self.status
