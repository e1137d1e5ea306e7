# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run in a terminal: what has ended scrolls up, what runs is drawn again below it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import IO

from ansible_collections.mlops.platform.plugins.module_utils.progress import (
    Row,
    Run,
    State,
    closing_text,
    printable,
)
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAMES_A_SECOND = 8
NAME_WIDTH = 14
MARKS: Mapping[State, tuple[str, str]] = {
    "done": ("✓", "green"),
    "failed": ("✗", "bold red"),
    "blocked": ("·", "yellow"),
}


class Screen:
    """Draws a run. Everything else that is printed meanwhile appears above what is drawn."""

    def __init__(self, run: Run, file: IO[str]) -> None:
        self._run = run
        self._told: set[int] = set()
        # Ansible paints its own messages; rich has to take them as they are.
        self._console = Console(file=file, highlight=False, markup=False, emoji=False)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=os.isatty(2),
            vertical_overflow="crop",
        )

    def start(self) -> None:
        """Begin to draw."""
        self._live.start()

    def stop(self, now: float) -> None:
        """Tell what has ended and leave the terminal as it was. May be started again."""
        self._live.update(Text(""))
        self._tell()
        self._live.stop()

    def draw(self, now: float) -> None:
        """Draw what runs now."""
        self._tell()
        self._live.update(self.frame(now), refresh=True)

    def frame(self, now: float) -> Group:
        """What runs, one line each, as much as the terminal has room for; then the run as a whole."""
        rows = sorted(self._run.running(), key=lambda row: row.phase == "wait")
        room = max(1, self._console.height - 3)
        lines = [self._line(row, now) for row in rows[:room]]
        if len(rows) > room:
            lines.append(Text(f"  … and {len(rows) - room} more", style="dim"))
        components = self._run.components
        proven = f"  {self._run.count_proven()} of {len(components)} components" if components else ""
        doing = "" if rows else f"  {self._run.now_doing}"
        lines.append(Text.assemble((self._run.verb, "bold"), f"{proven}  {now - self._run.started:.0f} s{doing}"))
        return Group(*(self._fit(line) for line in lines))

    def _line(self, row: Row, now: float) -> Text:
        """A row that runs: its phase, how far it is, and why it is not further."""
        waits = row.phase == "wait"
        spinner = SPINNER[int(now * FRAMES_A_SECOND) % len(SPINNER)]
        phase = "" if waits or row.part_of or row.phase == row.name else row.phase
        reason = self._run.reason(row, now).removeprefix(f"{row.name}: ")
        said = [(phase, "cyan"), (row.count(), "bold"), (printable(reason), "dim" if waits else "")]
        return _columns(MARKS["blocked"] if waits else (spinner, "cyan"), row, now - row.since, said)

    def _tell(self) -> None:
        """Print the rows that have ended, once."""
        for row in self._run.rows:
            if row.state != "running" and id(row) not in self._told:
                self._told.add(id(row))
                said = [("not touched:" if row.state == "blocked" else "", ""), (printable(closing_text(row)), "")]
                self._console.print(self._fit(_columns(MARKS[row.state], row, row.ended - row.begun, said)))

    def _fit(self, line: Text) -> Text:
        line.truncate(max(20, self._console.width - 1), overflow="ellipsis")
        return line


def _columns(mark: tuple[str, str], row: Row, seconds: float, said: Sequence[tuple[str, str]]) -> Text:
    """A row as text: mark, name, seconds, and what is said of it in some styles."""
    name = f"  {row.name}" if row.part_of else row.name
    line = Text.assemble(mark, f" {name:{NAME_WIDTH}.{NAME_WIDTH}}", (f" {seconds:4.0f} s", "dim"))
    for text, style in said:
        if text:
            line.append("  ").append(text, style)
    return line
