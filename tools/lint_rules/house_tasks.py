"""House rules of plays and tasks, as rules of ansible-lint."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ansiblelint.rules import AnsibleLintRule

if TYPE_CHECKING:
    from ansiblelint.errors import MatchError
    from ansiblelint.file_utils import Lintable
    from ansiblelint.utils import Task

SHELLS = {"command", "expect", "raw", "script", "shell", "win_command", "win_shell"}
HIDING = {"ignore_errors", "ignore_unreachable"}
# A value, not the name of the Secret that holds it.
SECRET = re.compile(r"\b\w*(?:password|passwd|secret_key|secret_access_key|token|private_key|store_uri)\b")
EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
FULL_NAME = re.compile(r"(?<![\w.])mlops\.platform\.|^\w+\.\w+\.\w+$")
NOT_IMPERATIVE = re.compile(r"^(?!(?:Bring|Embed|Feed|Need|Process|Seed|Pass|Address|Compress)\b)\w+(?:ing|ed|[^s]s)$")


def module(task: Task) -> str:
    """The last word of the module that a task calls."""
    return str(task.normalized_task["action"]["__ansible_module_original__"]).rpartition(".")[2]


def strings(node: Any) -> Iterator[str]:
    """All strings in data, keys included."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from strings(value)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from strings(item)
    elif isinstance(node, str):
        yield node


class HouseRule(AnsibleLintRule):
    """What the house rules share; the first version that has them is 0.1.0."""

    version_changed = "0.1.0"
    severity = "VERY_HIGH"
    tags = ["idiom"]  # noqa: RUF012  (as in the base class)
    needs_raw_task = True


class NoShell(HouseRule):
    """Tasks call modules, never a shell or a program."""

    id = "house-no-shell"
    description = "A module says what it changed and can be asked beforehand; a command line cannot."

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Refuse the modules that run a command line."""
        return f"{module(task)}: call a module instead of a command line" if module(task) in SHELLS else False


class NoHiddenFailure(HouseRule):
    """A failure is handled or ends the run; it is never ignored."""

    id = "house-no-hidden-failure"
    description = "ignore_errors, ignore_unreachable and failed_when: false let a run go on from what it did not reach."

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Refuse the keywords that ignore failures, whatever their condition."""
        raw = task.normalized_task["__raw_task__"]
        if found := sorted(HIDING.intersection(raw)):
            return f"{found[0]}: use block and rescue, or let the run end"
        never = str(raw.get("failed_when", "")).strip().lower() in {"false", "no", "[]"}
        return "failed_when: false: use block and rescue, or let the run end" if never else False


class NoSleep(HouseRule):
    """Tasks watch for what they wait for; they do not sleep."""

    id = "house-no-sleep"
    description = "A sleep is too long on one machine and too short on another."

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Refuse pauses that are not questions, and wait_for without anything to wait for."""
        arguments = task.normalized_task["action"]
        if module(task) == "pause" and "prompt" not in arguments:
            return "pause: watch for what is awaited"
        awaited = {"host", "port", "path", "search_regex"}.intersection(arguments)
        return "wait_for: say what is awaited" if module(task) == "wait_for" and not awaited else False


class FullRoleName(HouseRule):
    """Roles are named with their collection."""

    id = "house-full-role-name"
    description = (
        "A short name finds the role in a checkout and another one, or none, where the collection is installed."
    )

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Refuse include_role and import_role with a short name."""
        name = str(task.normalized_task["action"].get("name", ""))
        short = module(task) in {"include_role", "import_role"} and not FULL_NAME.search(name)
        return f"{name}: write mlops.platform.{name}" if short else False

    def matchplay(self, file: Lintable, data: Any) -> list[MatchError]:
        """Refuse short names in a play's list of roles."""
        roles = data.get("roles") or [] if file.kind == "playbook" and isinstance(data, dict) else []
        names = [str(role.get("role") or role.get("name")) if isinstance(role, dict) else str(role) for role in roles]
        return [
            self.create_matcherror(f"{name}: write mlops.platform.{name}", filename=file, data=data)
            for name in names
            if not FULL_NAME.search(name)
        ]


class SecretsAreNotLogged(HouseRule):
    """A task that is given a secret value has no_log."""

    id = "house-no-log"
    description = "Ansible shows arguments of tasks at -vvv, in diffs and in failures."
    tags = ["security"]  # noqa: RUF012  (as in the base class)

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Refuse expressions with the name of a secret value, and manifests of Secrets, in tasks without no_log."""
        raw = task.normalized_task["__raw_task__"]
        if raw.get("no_log") not in {None, False}:
            return False
        arguments = {key: value for key, value in raw.items() if key not in {"name", "when", "register", "tags"}}
        for text in strings(arguments):
            for expression in EXPRESSION.findall(text):
                if found := SECRET.search(expression):
                    return f"{found[0]}: add no_log: true"
        definition = arguments.get("kubernetes.core.k8s") or {}
        if isinstance(definition, dict) and any(text == "Secret" for text in strings(definition)):
            return "kind Secret: add no_log: true"
        return False


class NameIsAnOrder(HouseRule):
    """Plays and tasks are named by an imperative sentence whose variable part comes last."""

    id = "house-name"
    description = "Names are what people read while they wait: what is done, then to what."

    def matchtask(self, task: Task, file: Lintable | None = None) -> bool | str:
        """Judge a task's name; ansible-lint's own rules want one to be there."""
        return self.problem(task.normalized_task.get("name"))

    def matchplay(self, file: Lintable, data: Any) -> list[MatchError]:
        """Judge a play's name."""
        is_play = file.kind == "playbook" and isinstance(data, dict) and ("hosts" in data or "import_playbook" in data)
        problem = self.problem(data.get("name")) if is_play else ""
        return [self.create_matcherror(problem, filename=file, data=data)] if problem else []

    @staticmethod
    def problem(name: Any) -> str:
        """What is wrong with a name; empty where nothing is."""
        text = str(name or "").rpartition(" | ")[2]
        first = re.match(r"\w+", text)
        if first and NOT_IMPERATIVE.match(first[0]):
            return f"{first[0]!r}: begin with an order, as in 'Install packages'"
        head, expression, _ = text.partition("{{")
        if expression and (not text.rstrip().endswith("}}") or text.count("{{") > 1 or not head.strip()):
            return "put one variable part, at the end of the name"
        return ""
