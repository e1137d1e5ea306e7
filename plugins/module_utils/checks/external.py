# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Why a service that is not the platform's own cannot be used, in terms of the variables that declare it."""

from __future__ import annotations

import re

from ansible_collections.mlops.platform.plugins.module_utils.certificates import VARIABLE
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import External

# What PostgreSQL's library and boto3 say, in the order in which it is looked for: the field of External whose variable
# is to blame, and what is wrong with it. The words are theirs:
# https://www.postgresql.org/docs/17/libpq-ssl.html, https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
CAUSES = (
    (r"mismatch, certificate is not valid for|does not match host name", "variable", "the certificate has other names"),
    (r"certificate verify failed|CERTIFICATE_VERIFY_FAILED", "", "its authority is not trusted"),
    (r"server does not support SSL", "variable", "TLS is asked for, but the server has none"),
    (r"WRONG_VERSION_NUMBER|wrong version number|RECORD_LAYER_FAILURE", "variable", "the server speaks no TLS there"),
    (r"authentication failed|no password supplied|InvalidAccessKeyId|SignatureDoesNotMatch|no pg_hba.conf entry",
     "login", "the login is refused"),
    (r"^Secret \S+ (does not exist|has no key)", "login", "there are no credentials for it"),
    (r"NoSuchBucket|database \".*\" does not exist", "place", "it does not exist there"),
    (r"AccessDenied|permission denied|read-only transaction", "place", "the login may not do there what it must"),
)  # fmt: skip


def explain(endpoint: External, error: Exception) -> str:
    """One line: the variable to look at, what is wrong, and the client library's own words."""
    words = " ".join(str(error).split())
    for pattern, field, cause in CAUSES:
        if re.search(pattern, words):
            blamed = (getattr(endpoint, field) or endpoint.variable) if field else VARIABLE
            return f"{blamed}: {endpoint}: {cause}: {words}"
    return f"{endpoint.variable}: {endpoint}: it cannot be used: {words}"
