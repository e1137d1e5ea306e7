# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an experiment is asked to do, in the variables experiment_*, and what is refused of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.models.verdict import SLOWEST

MEASURES = 4
"""Errors, latency in the server, latency as the client has it, feedback."""
FASTEST = 500.0
"""Requests a second that one machine sends without being late itself."""


@dataclass(frozen=True)
class Settings:
    """How two versions are compared; see meta/argument_specs.yml.

    `split` is the candidate's percentage of the requests, `rate` how many are sent a second, for `seconds`. The margins
    are the smallest differences of shares that matter. `feedback_tolerance` is how far a predicted number may be from
    its label.
    """

    split: int = 50
    rate: float = 50.0
    seconds: float = 60.0
    alpha: float = 0.05
    power: float = 0.8
    error_margin: float = 0.01
    feedback_margin: float = 0.02
    feedback_tolerance: float = 0.0

    def __post_init__(self) -> None:
        """Raise PlatformError for values outside of what is allowed, and for too few requests to show anything."""
        for name, low, high, example in (
            ("split", 1, 99, "50"),
            ("rate", 0.1, FASTEST, "50"),
            ("seconds", 1, 7 * 24 * 3600, "60"),
            ("alpha", 1e-6, 0.5, "0.05"),
            ("power", 0.5, 0.999, "0.8"),
            ("error_margin", 1e-4, 0.5, "0.01"),
            ("feedback_margin", 1e-4, 0.5, "0.02"),
            ("feedback_tolerance", 0, math.inf, "0.5"),
        ):
            value = getattr(self, name)
            if not low <= value <= high or math.isinf(value):
                upper = f" to {high:g}" if math.isfinite(high) else " or more"
                raise PlatformError(f"experiment_{name} is {value:g}: allowed is {low:g}{upper}, such as {example}")

    @property
    def requests(self) -> int:
        """How many requests are sent."""
        return round(self.rate * self.seconds)

    def refuse_too_few(self, look: int) -> None:
        """Raise PlatformError where so few requests could never promote anything; `look` as Certainty has it."""
        from ansible_collections.mlops.platform.plugins.module_utils.experiments import decision

        side = decision.Certainty(self.alpha, self.power, look, self.split).side(MEASURES)
        margin = min(self.error_margin, self.feedback_margin, SLOWEST)
        least = decision.least_requests(margin, side, self.split)
        if self.requests < least:
            seconds = math.ceil(least / self.rate)
            again = f" (the {look - 1} before this one with the same versions count)" if look > 1 else ""
            raise PlatformError(
                f"experiment_rate {self.rate:g} and experiment_seconds {self.seconds:g} make {self.requests} requests, "
                f"of which {self.split} % are the candidate's: with experiment_alpha {self.alpha:g} and a margin of "
                f"{margin:g} at least {least} show that a version is no worse{again}: allowed is "
                f"experiment_seconds {seconds} or more, or a higher rate"
            )
