"""House rules of expressions, wherever they stand, as rules of ansible-lint."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansiblelint.rules import AnsibleLintRule

if TYPE_CHECKING:
    from ansiblelint.errors import MatchError
    from ansiblelint.file_utils import Lintable

WITHOUT_ORDER = re.compile(r"\|\s*(?:ansible\.builtin\.)?(difference|intersect|symmetric_difference|union)\b")
EXPRESSIONS = (".yml", ".yaml", ".j2")


class OrderedLists(AnsibleLintRule):
    """Lists come by filters that keep their order."""

    id = "house-ordered-lists"
    description = "Python orders sets anew in each process: what comes of one differs from run to run."
    version_changed = "0.1.0"
    severity = "VERY_HIGH"
    tags = ["unpredictability"]  # noqa: RUF012  (as in the base class)

    def matchlines(self, file: Lintable) -> list[MatchError]:
        """Refuse Ansible's filters for sets."""
        if file.path.suffix not in EXPRESSIONS:
            return []
        return [
            self.create_matcherror(
                f"{found[1]} gives a list in any order; select('in', ...) and reject('in', ...) keep it",
                lineno=number,
                details=line.strip(),
                filename=file,
            )
            for number, line in enumerate(file.content.splitlines(), start=1)
            for found in WITHOUT_ORDER.finditer(line)
        ]
