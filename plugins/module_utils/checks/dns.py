# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A name of the cluster, asked from its name server."""

from __future__ import annotations

import secrets
import socket
import struct
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import (
    REQUEST_SECONDS,
    Access,
    Check,
    CheckFailed,
    Service,
    expect,
)

# RFC 1035, section 4: a message is a header, questions and answers; over TCP its length stands before it.
HEADER = struct.Struct("!6H")
RECORD = struct.Struct("!HHIH")
ADDRESS, INTERNET, RECURSION_DESIRED = 1, 1, 0x0100
ANSWERS = {0: "NOERROR", 1: "FORMERR", 2: "SERVFAIL", 3: "NXDOMAIN", 4: "NOTIMP", 5: "REFUSED"}


@dataclass(frozen=True)
class DnsCheck(Check):
    """The Service `kubernetes` of the namespace `default` has, by its name under `domain`, the address that it has."""

    domain: str

    @property
    def target(self) -> str:
        return f"{self.service} {self._name()}"

    def _name(self) -> str:
        return f"kubernetes.default.svc.{self.domain}"

    def run(self, access: Access) -> tuple[object, object]:
        assert isinstance(self.service, Service)
        found = access.cluster.get("v1", "Service", "kubernetes", "default")
        expected = [found["spec"]["clusterIP"]] if found else []
        with socket.create_connection(access.address(self.service), REQUEST_SECONDS) as connection:
            code, addresses = ask(connection, self._name())
        if code != "NOERROR":
            raise CheckFailed(f"{self._name()} was answered with {code}", code, expected)
        expect(addresses, expected, f"{self._name()} was answered with {', '.join(addresses) or 'no address'}")
        return addresses, expected


def ask(connection: socket.socket, name: str) -> tuple[str, list[str]]:
    """The code of a name server's answer and the IPv4 addresses of `name`. Raises OSError where it is cut short."""
    number = secrets.randbits(16)
    question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    message = HEADER.pack(number, RECURSION_DESIRED, 1, 0, 0, 0) + question + struct.pack("!HH", ADDRESS, INTERNET)
    connection.sendall(struct.pack("!H", len(message)) + message)
    answer = _exactly(connection, struct.unpack("!H", _exactly(connection, 2))[0])
    same, flags, _, count, _, _ = HEADER.unpack_from(answer)
    if same != number:
        raise OSError("the name server answered another question")
    place, addresses = len(message), []
    for _ in range(count):
        place = _after_name(answer, place)
        kind, _, _, length = RECORD.unpack_from(answer, place)
        place += RECORD.size
        if kind == ADDRESS:
            addresses.append(socket.inet_ntoa(answer[place : place + length]))
        place += length
    return ANSWERS.get(flags & 0xF, str(flags & 0xF)), addresses


def _after_name(message: bytes, place: int) -> int:
    """Where a name ends: with an empty label, or with a pointer to where it was said before."""
    while length := message[place]:
        if length & 0xC0:
            return place + 2
        place += length + 1
    return place + 1


def _exactly(connection: socket.socket, size: int) -> bytes:
    found = b""
    while len(found) < size:
        piece = connection.recv(size - len(found))
        if not piece:
            raise OSError("the name server ended the connection")
        found += piece
    return found
