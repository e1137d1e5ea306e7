# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of progress of an image build as events: every image begins, goes on and ends under its own name."""

from __future__ import annotations

import re

from ansible_collections.mlops.platform.plugins.module_utils import events

STEP = re.compile(r"\[\d+/(?P<of>\d+)\] (?P<image>[^:]+): (?P<what>.+?)(?:, \d+ s)?", re.DOTALL)
"""A step, with how long it takes already where it is said again: an event has a time of its own."""
BUILT = "built in "


class ImageEvents:
    """Emits what a Builder reports. `host` is whom the lines belong to that are about no single image."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._under_way: list[str] = []
        self._built = 0

    def take(self, line: str) -> None:
        """Emit one line of a Builder, such as "[2/5] mlflow: installing Debian packages"."""
        found = STEP.fullmatch(line)
        if not found:
            events.progress(self._host, line)
            return
        image, what, of = found["image"], found["what"], int(found["of"])
        if image not in self._under_way:
            self._under_way.append(image)
            self._emit(image, "begin", what)
            events.progress(self._host, "", done=self._built, of=of)
        elif what.startswith(BUILT):
            self._under_way.remove(image)
            self._built += 1
            self._emit(image, "end", "built")
            events.progress(self._host, "", done=self._built, of=of)
        else:
            self._emit(image, "progress", what)

    def close(self) -> None:
        """End what is still under way: the build failed."""
        for image in self._under_way:
            self._emit(image, "end", "not finished", failed=True)
        self._under_way.clear()

    def _emit(self, image: str, kind: events.Kind, what: str, **fields: object) -> None:
        events.emit(image, kind, "images", what, part_of=self._host, **fields)
