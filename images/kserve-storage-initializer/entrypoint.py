"""Fetches models before their server starts: arguments are pairs of where a model is and the folder that it goes to.

What went wrong ends in one line, in the log and as the message of the container: which place, at which endpoint, and
what the server said there. AWS_ENDPOINT_URL and the other variables are those that KServe sets from the credentials.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

MESSAGE = Path("/dev/termination-log")


def pairs(arguments: Sequence[str]) -> list[tuple[str, str]]:
    """The (place, folder) pairs of the command line; ValueError when it has no whole pairs."""
    if not arguments or len(arguments) % 2:
        raise ValueError(f"expected pairs of a place and a folder, got {len(arguments)} arguments: {list(arguments)}")
    return list(zip(arguments[::2], arguments[1::2], strict=True))


def answer(place: str, listing: Callable[..., dict[str, Any]]) -> str | None:
    """What the server of an s3:// `place` says of it; None when it lists objects there.

    Fetching asks for headers alone, so a refusal gives no reason: `listing`, a client's list_objects_v2, gets one.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    parts = urlsplit(place)
    try:
        found = listing(Bucket=parts.netloc, Prefix=parts.path.lstrip("/"), MaxKeys=1)
    except ClientError as error:
        said = error.response["Error"]
        return f"{said['Code']} ({error.response['ResponseMetadata']['HTTPStatusCode']}): {said['Message']}"
    except BotoCoreError as error:
        return one_line(error)
    return None if found["KeyCount"] else "no such object: nothing is stored under this name"


def one_line(error: Exception) -> str:
    """The words of an `error` on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def fetch(place: str, folder: str) -> None:
    """Fetch `place` into `folder`; RuntimeError is one line that says why not."""
    from kserve_storage import Storage

    try:
        Storage.download(place, folder)
    except Exception as error:
        endpoint = os.environ.get("AWS_ENDPOINT_URL") or "the default endpoint"
        said = None
        if place.startswith("s3://"):
            import boto3

            said = answer(place, boto3.client("s3", **Storage._get_s3_client_kwargs()).list_objects_v2)
            place = f"{place} at {endpoint}"
        raise RuntimeError(f"{place}: {said or one_line(error)}") from error


def main() -> None:
    """Fetch what the command line says; what failed is the last line."""
    try:
        for place, folder in pairs(sys.argv[1:]):
            fetch(place, folder)
    except (RuntimeError, ValueError) as error:
        if MESSAGE.exists():
            MESSAGE.write_text(f"{error}\n", encoding="utf-8")
        sys.exit(f"cannot fetch the model: {error}")


if __name__ == "__main__":
    main()
