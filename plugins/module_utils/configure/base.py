# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all configuration steps share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Service


@dataclass(frozen=True)
class Step(ABC):
    """One step of configuration of the service at `service`.

    A `premise` is told another component's service: the pods cannot become ready without, and are not waited for.
    """

    service: Service
    premise: bool = field(default=False, kw_only=True)

    @abstractmethod
    def apply(self, access: Access, check_mode: bool) -> list[str]:
        """Make the service as the step says; returns what was changed, one line each, nothing secret.

        With `check_mode` it only says what would be changed.
        """
