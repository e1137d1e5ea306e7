"""Questions to a name server and what it answers, octet by octet."""

from __future__ import annotations

import socket
import struct
import threading

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.checks.dns import HEADER, RECORD, ask

NAME = "kubernetes.default.svc.cluster.local"


def server(code: int, records: bytes, count: int, shift: int = 0) -> socket.socket:
    """The client's end of a connection to a name server that answers one question."""
    near, far = socket.socketpair()

    def answer() -> None:
        (length,) = struct.unpack("!H", far.recv(2))
        asked = far.recv(length)
        message = (
            HEADER.pack(HEADER.unpack_from(asked)[0] ^ shift, 0x8180 | code, 1, count, 0, 0)
            + asked[HEADER.size :]
            + records
        )
        far.sendall(struct.pack("!H", len(message)) + message)
        far.close()

    threading.Thread(target=answer, daemon=True).start()
    return near


def record(kind: int, content: bytes, name: bytes = b"\xc0\x0c") -> bytes:
    return name + RECORD.pack(kind, 1, 30, len(content)) + content


def test_addresses_are_read_behind_other_records_and_whole_names() -> None:
    records = record(5, b"\x01a\x00") + record(1, bytes([10, 96, 0, 1]), b"\x01a\x05local\x00")
    assert ask(server(0, records, 2), NAME) == ("NOERROR", ["10.96.0.1"])


@pytest.mark.parametrize(("code", "word"), [(2, "SERVFAIL"), (3, "NXDOMAIN"), (5, "REFUSED"), (11, "11")])
def test_a_refusal_has_its_name(code: int, word: str) -> None:
    assert ask(server(code, b"", 0), NAME) == (word, [])


def test_an_answer_to_another_question_is_none() -> None:
    with server(0, b"", 0, shift=1) as near, pytest.raises(OSError, match="another question"):
        ask(near, NAME)


def test_a_connection_that_ends_is_an_error() -> None:
    near, far = socket.socketpair()
    far.close()
    with pytest.raises(OSError, match=r"Broken pipe|ended the connection"):
        ask(near, NAME)
