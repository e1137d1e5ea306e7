"""An open-loop load: requests leave at a constant rate, whatever becomes of those before them.

A request's latency counts from the moment at which it was due, not from the one at which it could be sent: what waits
because others are slow is slow, too, and nothing is omitted.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import count
from multiprocessing import get_context
from socket import AF_INET, AI_NUMERICHOST

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

PATIENCE_SECONDS = 10.0
"""After this time a request counts as an error."""


@dataclass(frozen=True)
class Target:
    """What is asked: POST `path` of `host` with `body`, JSON.

    `places` are the addresses (IPv4 and port) that requests go to in turn. With `authorities` (PEM) they speak TLS, and
    the certificate must be one for `host`.
    """

    places: tuple[tuple[str, int], ...]
    host: str
    path: str
    body: bytes
    authorities: str = ""


@dataclass(frozen=True)
class Sample:
    """One request: when it was due (seconds from the beginning), how late it left, when it was answered, how.

    `outcome` is the HTTP status, or the name of what went wrong. Latency and lateness are in seconds, from when it was
    due.
    """

    due: float
    late: float
    latency: float
    outcome: str


@dataclass(frozen=True)
class Load:
    """The samples of one load, and the seconds of a processor that it took to make it."""

    samples: Sequence[Sample]
    processor_seconds: float


class _There(AbstractResolver):
    """Every name is at the address that stands in it: the place, and not the host, is what is connected to."""

    def __init__(self, address: str) -> None:
        self._address = address

    async def resolve(self, host: str, port: int = 0, family: int = AF_INET) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host, host=self._address, port=port, family=AF_INET, proto=0, flags=AI_NUMERICHOST
            )
        ]  # fmt: skip

    async def close(self) -> None:
        """Nothing to close."""


def run(target: Target, rate: float, seconds: float) -> Load:
    """Ask `rate` times a second for `seconds`, from a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_run, target, rate, seconds).result()


def _run(target: Target, rate: float, seconds: float) -> Load:
    began = time.process_time()
    samples = asyncio.run(_ask(target, rate, seconds))
    return Load(samples, time.process_time() - began)


async def _ask(target: Target, rate: float, seconds: float) -> list[Sample]:
    trust = ssl.create_default_context(cadata=target.authorities) if target.authorities else False
    headers = {"Host": target.host, "Content-Type": "application/json"}
    samples: list[Sample] = []
    sessions = [
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=trust, resolver=_There(address), use_dns_cache=False),
            timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS), headers=headers,
        )
        for address, _ in target.places
    ]  # fmt: skip
    scheme = "https" if target.authorities else "http"
    urls = [f"{scheme}://{target.host}:{port}{target.path}" for _, port in target.places]
    turn = count()

    async def ask(due: float) -> None:
        place = next(turn) % len(sessions)
        late = time.perf_counter() - start - due
        try:
            async with sessions[place].post(urls[place], data=target.body) as answer:
                await answer.read()
                outcome = str(answer.status)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            outcome = type(error).__name__
        samples.append(Sample(due, late, time.perf_counter() - start - due, outcome))

    start = time.perf_counter()
    try:
        async with asyncio.TaskGroup() as group:
            for number in range(round(rate * seconds)):
                due = number / rate
                if (rest := due - (time.perf_counter() - start)) > 0:
                    await asyncio.sleep(rest)
                group.create_task(ask(due))
    finally:
        for session in sessions:
            await session.close()
    return samples
