# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one kind of error that a user is meant to read, and what it may show."""

from __future__ import annotations

from urllib.parse import urlsplit


class PlatformError(Exception):
    """A problem the user can act on.

    The message names what is wrong, the value, and what is allowed; `details` are added to the task's result.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details


def without_login(url: str) -> str:
    """A URL as messages may show it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
