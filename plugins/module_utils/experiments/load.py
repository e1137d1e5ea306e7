# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Labelled rows as an open-loop load: requests leave at a constant rate, whatever becomes of those before them.

A request's latency counts from the moment at which it was due: what waits because others are slow is slow, too. Each
request is one row, drawn with replacement by a generator with a seed; what a client learns of its predictions
afterwards, here from the row's label, it sends back as feedback, which the model server counts.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import urllib3
from ansible_collections.mlops.platform.plugins.module_utils.experiments.decision import Sample
from ansible_collections.mlops.platform.plugins.module_utils.models import predict
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import Answer
from ansible_collections.mlops.platform.plugins.module_utils.waiting import Progress

PATIENCE_SECONDS = 10.0
"""After this time a client gives up, and the request is an error."""
MOST_AT_ONCE = 256
"""Requests under way at once; those that are due beyond them wait, and their waiting counts."""
TELL_SECONDS = 2.0
"""How often feedback is sent: what is known of many predictions goes in one request."""
SAY_SECONDS = 10.0
LONGEST_ANSWER = 200
"""Characters of an answer that a message shows."""


@dataclass(frozen=True)
class Rows:
    """Rows with what is right for each, and what each version predicts for it; all of the same length.

    `requests` are V2 requests of one row. `labels` are empty where nothing is known. A number is right that is no
    farther than `tolerance` from its label.
    """

    requests: Sequence[Mapping[str, Any]]
    expected: Mapping[str, Sequence[Any]]
    labels: Sequence[Any]
    tolerance: float = 0.0

    @classmethod
    def of(cls, own: Mapping[str, predict.Reference], labels: Sequence[Any], tolerance: float) -> Rows:
        """The rows that all versions have predicted. Raises ValueError where labels and predictions do not match."""
        first = next(iter(own.values()))
        expected = {}
        for version, reference in own.items():
            values = len(predict.flat(reference.outputs[0]["data"]))
            if labels and not (len(reference.outputs) == 1 and values == first.rows == len(labels)):
                raise ValueError(
                    f"version {version} predicts {len(reference.outputs)} outputs, the first of {values} values, for "
                    f"{first.rows} rows with {len(labels)} labels: one value a row can be held against its label"
                )
            expected[version] = [
                [{**item, "data": part} for item, part in zip(reference.outputs, parts, strict=True)]
                for parts in zip(*(_split(item["data"], first.rows) for item in reference.outputs), strict=True)
            ]
        return cls([predict.row(first.request, number) for number in range(first.rows)], expected, labels, tolerance)

    def right(self, number: int, outputs: Sequence[Mapping[str, Any]]) -> bool:
        """Whether the prediction of a row is what its label says."""
        label, given = self.labels[number], next(iter(predict.flat(outputs[0]["data"])), None)
        numbers = isinstance(label, (int, float)) and isinstance(given, (int, float))
        return predict.same(label, given) or (numbers and abs(label - given) <= self.tolerance)


def _split(data: Any, rows: int) -> list[list[Any]]:
    """The values of an output, row by row."""
    values = predict.flat(data)
    width = len(values) // rows
    return [values[number * width : (number + 1) * width] for number in range(rows)]


@dataclass(frozen=True)
class Request:
    """One request of a load: when it was due in seconds from the beginning, and what became of it."""

    due: float
    answer: Answer
    right: bool | None = None


@dataclass(frozen=True)
class Load:
    """All requests of a load, and the feedback that was accepted, by version."""

    requests: Sequence[Request]
    told: Mapping[str, int]

    @property
    def answers(self) -> list[Answer]:
        """What became of each request."""
        return [item.answer for item in self.requests]

    def slow(self, version: str, bound: float, slices: int) -> Sample:
        """The good answers of a version that took longer than some seconds, as the client had them."""
        last = max((item.due for item in self.requests), default=0.0)
        rows = [[0, 0] for _ in range(slices)]
        for item in self.requests:
            if item.answer.version == version and not item.answer.error:
                row = rows[min(slices - 1, int(item.due / (last or 1.0) * slices))]
                row[0] += item.answer.seconds > bound
                row[1] += 1
        return Sample.of([(bad, total) for bad, total in rows])


class Sender:
    """Sends rows to an endpoint at a `rate` (requests a second) for some `seconds`, and feedback on the answers."""

    def __init__(self, client: predict.V2Client, rows: Rows, rate: float, seconds: float, say: Progress) -> None:
        self._client, self._rows, self._say = client, rows, say
        self._rate, self._seconds = rate, seconds
        self._lock = threading.Lock()
        self._known: Counter[tuple[str, bool]] = Counter()
        self._told: Counter[str] = Counter()

    def run(self, seed: int = 0) -> Load:
        """Send them all and wait for the answers. The same seed draws the same rows."""
        generator = random.Random(seed)  # noqa: S311  (draws rows, no secrets)
        count = round(self._rate * self._seconds)
        drawn = [generator.randrange(len(self._rows.requests)) for _ in range(count)]
        done = threading.Event()
        teller = threading.Thread(target=self._tell_until, args=(done,), daemon=True)
        started = time.monotonic()
        said = SAY_SECONDS
        try:
            teller.start()
            with ThreadPoolExecutor(at_once(self._rate)) as pool:
                sent = []
                for number, row in enumerate(drawn):
                    due = number / self._rate
                    if (rest := started + due - time.monotonic()) > 0:
                        time.sleep(rest)
                    sent.append(pool.submit(self.ask, row, due, started + due))
                    if due >= said:
                        said += SAY_SECONDS
                        failed = sum(bool(item.result().answer.error) for item in sent if item.done())
                        self._say(f"{due:.0f} of {self._seconds:.0f} s: {number} requests, {failed} failed")
                requests = [item.result() for item in sent]
        finally:
            done.set()
            teller.join()
        self._tell()
        return Load(requests, dict(self._told))

    def version(self) -> str:
        """The version that answers a request for the first row; empty where that failed."""
        return self.ask(0, 0.0, time.monotonic(), tell=False).answer.version

    def ask(self, row: int, due: float, moment: float, *, tell: bool = True) -> Request:
        """Ask for the prediction of a row that was due at a `moment` of the monotonic clock."""
        try:
            got = self._client.infer(self._rows.requests[row], PATIENCE_SECONDS)
        except urllib3.exceptions.HTTPError as error:
            said = f"{type(error).__name__}: {predict.shortened(error, LONGEST_ANSWER)}"
            return Request(due, Answer(time.monotonic() - moment, error=said))
        seconds = time.monotonic() - moment
        if got.status != 200:
            said = f"HTTP {got.status}: {predict.shortened(got.body, LONGEST_ANSWER)}"
            return Request(due, Answer(seconds, error=said))
        expected = self._rows.expected.get(got.version)
        wrong = "; ".join(predict.differences(expected[row], got.outputs)) if expected else ""
        answer = Answer(seconds, got.version, wrong=wrong)
        if not tell or not self._rows.labels or not expected or wrong:
            return Request(due, answer)
        right = self._rows.right(row, got.outputs)
        with self._lock:
            self._known[got.version, right] += 1
        return Request(due, answer, right)

    def _tell_until(self, done: threading.Event) -> None:
        while not done.wait(TELL_SECONDS):
            self._tell()

    def _tell(self) -> None:
        """Send the feedback that has come together; what is lost is not sent again: it may have been counted."""
        with self._lock:
            known, self._known = self._known, Counter()
        for version in sorted({key[0] for key in known}):
            good, bad = known[version, True], known[version, False]
            try:
                answer = self._client.feedback(version, good, bad, PATIENCE_SECONDS)
            except urllib3.exceptions.HTTPError:
                continue
            if answer.status == 200:
                self._told[version] += good + bad


def at_once(rate: float) -> int:
    """The requests that may be under way at once at a rate: as many as leave until a client gives up."""
    return max(1, min(MOST_AT_ONCE, round(rate * PATIENCE_SECONDS)))


def until_both_answer(ask: Callable[[], str], versions: Sequence[str], most: int) -> str:
    """Ask until each version has answered, `most` times at the most; returns the versions that did not, in words."""
    seen: set[str] = set()
    for _ in range(most):
        seen.add(ask())
        if seen >= set(versions):
            return ""
    return " and ".join(version for version in versions if version not in seen)
