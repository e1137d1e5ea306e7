# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which failures of a check last: the answers of a service, as opposed to its silence."""

from __future__ import annotations

import re

import psycopg2
from ansible_collections.mlops.platform.plugins.module_utils.alertmanager import AlertmanagerError
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import CheckFailed, NotYet
from ansible_collections.mlops.platform.plugins.module_utils.cluster import ApiError
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.forward import NobodyReady
from ansible_collections.mlops.platform.plugins.module_utils.prometheus import PrometheusError
from botocore.exceptions import ClientError, FlexibleChecksumError

PASSING_STATUS = frozenset({408, 425, 429, 502, 503, 504})
"""What HTTP servers, and those before them, answer when a later request may fare better (RFC 9110, section 15)."""
PASSING_WORDS = re.compile(
    r"starting up|shutting down|recovery|not yet accepting|too many clients|closed the connection"
    r"|could not connect|connection to server .* failed: (Connection|timeout)|timeout expired|terminating connection"
)
"""How PostgreSQL and its library say the same (https://www.postgresql.org/docs/17/errcodes-appendix.html, 57P)."""

DENIED = "denied the request"
"""How the API server quotes an admission webhook that answered no."""


def lasting(error: Exception) -> bool:
    """Whether trying again is of no use: a service said why it does not do its work, or what it needs is missing."""
    if isinstance(error, NotYet):
        return False
    if isinstance(error, CheckFailed):
        return error.observed not in PASSING_STATUS if isinstance(error.observed, int) else True
    if isinstance(error, (AlertmanagerError, PrometheusError)):
        return error.status not in PASSING_STATUS
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") not in PASSING_STATUS
    if isinstance(error, psycopg2.Error):
        return not PASSING_WORDS.search(str(error))
    if isinstance(error, FlexibleChecksumError):
        return True
    if isinstance(error, ApiError):
        return DENIED in str(error)
    return isinstance(error, PlatformError) and not isinstance(error, NobodyReady)
