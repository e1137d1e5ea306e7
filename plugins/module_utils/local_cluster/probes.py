# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asking a process whether it is ready, without any client library."""

from __future__ import annotations

import json
import socket
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE_SECONDS = 5


@dataclass(frozen=True)
class Identity:
    """Whom a probe trusts and who it says it is."""

    authority: Path
    pair: Path | None = None


@dataclass(frozen=True)
class Probe:
    """A question to a process: an HTTP address that must answer 200, or a Unix socket that must accept."""

    url: str = ""
    unix_socket: str = ""
    identity: Identity | None = None

    def problem(self) -> str:
        """What is not ready yet, or an empty string."""
        try:
            if self.unix_socket:
                with socket.socket(socket.AF_UNIX) as connection:
                    connection.settimeout(PROBE_SECONDS)
                    connection.connect(self.unix_socket)
            if self.url:
                request(self.url, self.identity)
        except urllib.error.HTTPError as error:
            return f"{self.url} answers {error.code}: {error.read(300).decode(errors='replace')}"
        except (OSError, ValueError) as error:
            return f"{self.url or self.unix_socket}: {getattr(error, 'reason', error)}"
        return ""


def request(url: str, identity: Identity | None, *, method: str = "GET", body: Any = None) -> Any:
    """Send one request and return the JSON that came back (or None where the answer is not JSON).

    Proxies of the environment are not used: everything asked here is on this machine.
    """
    data = None if body is None else json.dumps(body).encode()
    message = urllib.request.Request(url, data=data, method=method, headers={"Content-Type": "application/json"})
    handlers: list[Any] = [urllib.request.ProxyHandler({})]
    if identity:
        context = ssl.create_default_context(cafile=str(identity.authority))
        if identity.pair:
            context.load_cert_chain(str(identity.pair))
        handlers.append(urllib.request.HTTPSHandler(context=context))
    with urllib.request.build_opener(*handlers).open(message, timeout=PROBE_SECONDS) as response:
        answer = response.read()
    try:
        return json.loads(answer)
    except ValueError:
        return None
