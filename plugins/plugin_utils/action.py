# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What every action plugin of the collection shares.

The engine runs inside the controller: ansible-core imports an action plugin before it forks its
workers, so that the Kubernetes, S3 and SQL libraries are imported once a run instead of once a task.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any, ClassVar

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.cluster import disconnect
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.module_utils.process import die_with_parent


def refuse(problems: Sequence[str], **details: object) -> None:
    """Raise one PlatformError with `details` for all problems, a line each; nothing where there are none."""
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        lines = "\n".join(f"- {item}" for item in problems)
        raise PlatformError(f"{count}, nothing was touched:\n{lines}", **details)


class PlatformAction(ActionBase):  # type: ignore[misc]
    """An action whose arguments are checked first and whose PlatformErrors become one readable failure.

    A subclass states ARGUMENTS (an Ansible argument spec, documented in plugins/modules/<name>.py)
    and implements `work`; PHASE is what the whole of it is to those who watch the run.
    """

    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {}
    PHASE: ClassVar[events.Phase | None] = None
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """What Ansible calls: check the arguments, do the work, make a PlatformError a failure."""
        super().run(tmp, task_vars)
        die_with_parent()
        try:
            _, arguments = self.validate_argument_spec(argument_spec=self.ARGUMENTS)
            host = str((task_vars or {}).get("inventory_hostname", "localhost"))
            with events.phase(host, self.PHASE, self._task.name, stage=True) if self.PHASE else nullcontext():
                return self.work(arguments, task_vars or {})
        except PlatformError as error:
            return {"failed": True, "msg": str(error), **error.details}
        finally:
            disconnect()

    def work(self, arguments: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do the action with checked `arguments` and return an Ansible result."""
        raise NotImplementedError

    @property
    def check_mode(self) -> bool:
        """Whether the run only asks what would change."""
        return bool(self._task.check_mode)

    def progress(self, host: str, message: str, **fields: object) -> None:
        """Tell those who watch the run how the running task goes on; `fields` are those of an event."""
        events.progress(host, message, **fields)
        self.print_unless_shown(host, message)

    def print_unless_shown(self, host: str, message: str) -> None:
        """Print a line of progress in runs whose events nobody shows."""
        if not events.shown():
            Display().display(f"  {host} | {message}")
