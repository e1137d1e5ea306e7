"""The platform that the faults are injected into."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import checks
from ansible_collections.mlops.platform.plugins.module_utils.checks.base import Access, Check
from faults.platform import Platform
from faults.sets import CHOSEN
from faults.stage import Stage


def inventory() -> Path:
    """The inventory that MLOPS_PLATFORM_FAULTS names, else that of the chosen set of faults; it is provisioned."""
    return Path(os.environ.get("MLOPS_PLATFORM_FAULTS") or CHOSEN.inventory)


@dataclass(frozen=True)
class Passing(Check):
    """What is left of a check that was taken out: it finds everything as it must be."""

    def run(self, access: Access) -> tuple[object, object]:
        """Look at nothing."""
        return None, None


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    """The platform that is broken and mended."""
    found: dict[str, Any] = checks.CHECKS
    found["passing"] = Passing
    return Platform.of(inventory(), tmp_path_factory.mktemp("specs"))


@pytest.fixture(scope="session")
def stage(platform: Platform) -> Stage:
    """Where the rounds of faults are played, one after the other."""
    return Stage(platform, CHOSEN.rounds)
