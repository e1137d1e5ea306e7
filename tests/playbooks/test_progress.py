"""What a person and a log see of a run: ansible-playbook under a terminal of its own, with components that pretend."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE_PLAYBOOK = str(Path(sys.executable).with_name("ansible-playbook"))
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
CONTROL = re.compile(r"\x1b\[[\d;?]*[A-Za-z]|\r")
# An action of the collection's kind: phases in a process of its own, a wait for another component, a failure.
ACTION = """
import time
from pathlib import Path
from typing import Any, ClassVar
from ansible_collections.mlops.platform.plugins.module_utils import events
from ansible_collections.mlops.platform.plugins.module_utils.errors import PlatformError
from ansible_collections.mlops.platform.plugins.plugin_utils.action import PlatformAction

class ActionModule(PlatformAction):
    ARGUMENTS: ClassVar[dict[str, dict[str, Any]]] = {
        "waits_for": {"type": "str"},
        "seconds": {"type": "float"},
        "fails": {"type": "str"},
        "folder": {"type": "path"},
    }

    def work(self, arguments, task_vars):
        name, folder = task_vars["inventory_hostname"], Path(arguments["folder"])
        if need := arguments["waits_for"]:
            with events.phase(name, "wait", waits_for=[need]):
                while not (folder / need).exists():
                    time.sleep(0.05)
                if (folder / need).read_text() == "failed":
                    raise PlatformError(f"{name} requires {need}, which failed: it was not touched", blocked_by=need)
        with events.phase(name, "rollout", of=1):
            self.progress(name, "0 of 1 ready; Pulling image with a name too long for a terminal" + " x" * 50)
            deadline = time.monotonic() + arguments["seconds"]
            while time.monotonic() < deadline:
                time.sleep(0.05)
            if arguments["fails"]:
                (folder / name).write_text("failed")
                raise PlatformError(f"{name}: {arguments['fails']}", next_step="Mend it.")
        (folder / name).write_text("done")
        return {"changed": True, "warnings": [f"{name} is deprecated"] if name == "minio" else []}
"""
PLAYBOOK = """
- name: Provision the pretended components
  hosts: components
  gather_facts: false
  strategy: ansible.builtin.free
  tasks:
    - name: Pretend to provision
      pretend:
        waits_for: "{{ waits_for | default(omit) }}"
        seconds: "{{ seconds }}"
        fails: "{{ fails | default(omit) }}"
        folder: "{{ playbook_dir }}"
    - name: Say something
      ansible.builtin.debug:
        msg: said between
"""

QUESTION = """
- name: Ask
  hosts: minio
  gather_facts: false
  tasks:
    - name: Ask first
      ansible.builtin.pause:
        prompt: Type yes to go on
      register: answer
    - name: Say what was answered
      ansible.builtin.debug:
        msg: "the answer is {{ answer.user_input }}"
"""


class Project:
    """A playbook with two components, of which one waits for the other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "action_plugins").mkdir()
        (folder / "action_plugins" / "pretend.py").write_text(ACTION, encoding="utf-8")
        (folder / "pretend.yml").write_text(PLAYBOOK, encoding="utf-8")

    def command(self, *options: str, seconds: float = 1.5, fails: str = "") -> list[str]:
        """The command that runs the playbook."""
        failing = f"fails='{fails}'" if fails else ""
        (self.folder / "hosts.ini").write_text(
            f"[components]\nminio seconds={seconds} {failing}\nmlflow seconds=0.5 waits_for=minio\n"
            "[components:vars]\nansible_connection=local\n",
            encoding="utf-8",
        )
        return [ANSIBLE_PLAYBOOK, str(self.folder / "pretend.yml"), "-i", str(self.folder / "hosts.ini"), *options]

    def environment(self, **variables: str) -> dict[str, str]:
        """The environment of a checkout's run."""
        unwanted = ("ANSIBLE_", "MLOPS_", "CI", "NO_COLOR", "COLUMNS", "LINES")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(unwanted)}
        return {**kept, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"), "TERM": "xterm-256color", **variables}


class Terminal:
    """A pseudo-terminal in which a command runs."""

    def __init__(self, command: list[str], environment: dict[str, str], columns: int = 80, rows: int = 24) -> None:
        self._main, inner = pty.openpty()
        self.resize(columns, rows)
        self._process = subprocess.Popen(
            command, env=environment, cwd=ROOT, pass_fds=[inner],
            preexec_fn=lambda: os.login_tty(inner),  # noqa: PLW1509  (three system calls in a test)
        )  # fmt: skip
        os.close(inner)
        self._read: list[bytes] = []
        self._reader = threading.Thread(target=self._follow)
        self._reader.start()

    def resize(self, columns: int, rows: int) -> None:
        """Give the terminal another size."""
        fcntl.ioctl(self._main, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def _follow(self) -> None:
        while True:
            try:
                self._read.append(os.read(self._main, 65536))
            except OSError:  # the last program has left the terminal
                return

    @property
    def text(self) -> str:
        """What was printed until now."""
        return b"".join(self._read).decode(errors="replace")

    def until(self, wanted: str) -> None:
        """Wait until something is printed."""
        deadline = time.monotonic() + 60
        while wanted not in self.text:
            assert time.monotonic() < deadline, self.text
            assert self._process.poll() is None, self.text
            time.sleep(0.05)

    def type(self, text: str) -> None:
        """What a person types."""
        os.write(self._main, text.encode())

    def answer(self, text: str, wanted: str) -> None:
        """Type until something is printed: Ansible drops what was typed before it listens, after it has asked."""
        deadline = time.monotonic() + 60
        while wanted not in self.text:
            assert time.monotonic() < deadline, self.text
            self.type(text)
            time.sleep(1)

    def end(self) -> int:
        """The exit status of the command."""
        status = self._process.wait(60)
        self._reader.join(10)
        os.close(self._main)
        return status


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def visible(text: str) -> list[str]:
    """Lines without control sequences and without those that are empty."""
    return [line.rstrip() for line in CONTROL.sub("", text).splitlines() if line.strip()]


def test_a_terminal_shows_what_runs_and_what_waits_and_is_given_back(project: Project) -> None:
    terminal = Terminal(project.command(), project.environment(), columns=60)
    terminal.until("waits for minio (rollout 1 s)")
    assert terminal.end() == 0
    shown = terminal.text
    assert shown.count(HIDE_CURSOR) == shown.count(SHOW_CURSOR) == 1
    lines = visible(shown.replace("\x1b[1A", "\n"))
    assert any(
        line[2:].startswith("minio") and "rollout  0 of 1 ready" in line and line.endswith("…") for line in lines
    )
    assert max(len(line) for line in lines if line[2:].startswith(("minio ", "mlflow "))) < 60
    assert any(line.startswith("[WARNING]: minio is deprecated") for line in lines)
    assert {"minio: said between", "mlflow: said between"} <= set(lines)
    assert lines[-1].startswith("pretend: done, 2 changed, ")
    assert "TASK [" not in shown
    assert "PLAY RECAP" not in shown


def test_a_failure_ends_with_its_cause_and_what_followed_from_it(project: Project) -> None:
    terminal = Terminal(project.command(fails="no such image"), project.environment())
    assert terminal.end() == 2
    lines = visible(terminal.text)
    (start,) = [number for number, line in enumerate(lines) if line.startswith("pretend: failed, 0 changed")]
    assert lines[start + 1 :] == [
        "  minio failed at rollout",
        "    cause      no such image",
        "    next step  Mend it.",
        "  mlflow was not touched: it waited for minio, which failed",
    ]
    assert "{" not in terminal.text, "no result in JSON"


def test_a_terminal_may_change_its_size(project: Project) -> None:
    terminal = Terminal(project.command(seconds=3), project.environment(), columns=120)
    terminal.until("waits for minio")
    terminal.resize(40, 10)
    before = len(terminal.text)
    assert terminal.end() == 0
    frames = [line for line in visible(terminal.text[before + 1000 :]) if line[2:].startswith(("minio ", "mlflow "))]
    assert frames
    assert max(map(len, frames)) < 40


def test_ctrl_c_leaves_a_sane_terminal_and_says_what_to_do(project: Project) -> None:
    terminal = Terminal(project.command(seconds=60), project.environment())
    terminal.until("waits for minio")
    terminal.type("\x03")
    assert terminal.end() != 0
    assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex(HIDE_CURSOR)
    assert "before its end; the same command goes on from there" in " ".join(visible(terminal.text))


def test_a_question_is_asked_and_answered(project: Project) -> None:
    command = project.command()
    (project.folder / "pretend.yml").write_text(QUESTION, encoding="utf-8")
    terminal = Terminal(command, project.environment())
    terminal.until("Type yes to go on")
    assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex(HIDE_CURSOR), "nothing is drawn over the question"
    terminal.answer("yes\r", "the answer is yes")
    assert terminal.end() == 0
    assert any(line.endswith("minio: the answer is yes") for line in visible(terminal.text))


def test_a_terminal_where_plain_text_is_wanted(project: Project) -> None:
    terminal = Terminal(project.command(), project.environment(CI="true"))
    assert terminal.end() == 0
    assert not [character for character in terminal.text if character < " " and character not in "\r\n"]
    assert re.search(r"^\d\d:\d\d:\d\d mlflow waits for minio\r?$", terminal.text, re.MULTILINE)


def piped(project: Project, *options: str, **variables: str) -> str:
    """The output of a run without a terminal."""
    return subprocess.run(
        project.command(*options), env=project.environment(**variables), cwd=ROOT, check=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ).stdout  # fmt: skip


def test_a_log_is_short_and_plain_and_nothing_is_left_behind(project: Project, tmp_path: Path) -> None:
    (tmp_path / "temporary").mkdir()
    text = piped(project, TMPDIR=str(tmp_path / "temporary"))
    assert list((tmp_path / "temporary").glob("mlops-platform-*")) == []
    assert "\x1b" not in text
    stamped = [line[9:] for line in text.splitlines() if re.match(r"\d\d:\d\d:\d\d ", line)]
    assert len(stamped) <= 5
    assert "mlflow waits for minio" in stamped
    assert any(line.startswith("minio rollout: 0 of 1 ready; Pulling image") for line in stamped)


def test_a_verbose_run_is_ansibles_own(project: Project) -> None:
    ours = piped(project, "-v")
    theirs = piped(project, "-v", ANSIBLE_STDOUT_CALLBACK="ansible.builtin.default")
    assert "TASK [Pretend to provision]" in ours
    assert "  mlflow | 0 of 1 ready" in ours, "progress is not lost where nobody draws it"
    # With the strategy free the order may differ, and with it how often the name of a task is said.
    assert set(ours.splitlines()) == set(theirs.splitlines())
