"""The one kind of error that a user is meant to read."""

from __future__ import annotations


class PlatformError(Exception):
    """A problem the user can act on.

    The message names what is wrong, the value, and what is allowed; `details` are added to the task's result.
    """

    def __init__(self, message: str, **details: object) -> None:
        super().__init__(message)
        self.details = details
