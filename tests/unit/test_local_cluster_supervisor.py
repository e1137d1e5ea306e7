"""The configuration that supervisord gets, and when it restarts a program."""

from __future__ import annotations

from configparser import RawConfigParser
from pathlib import Path

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.local_cluster import supervisor
from supervisor.options import ServerOptions  # type: ignore[import-untyped]

RUN = Path("/run/mlops-platform/test")
LOG = Path("/var/log/test")


def parsed(text: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(text)
    return parser


def program(**changes: object) -> supervisor.Program:
    values: dict[str, object] = {"name": "etcd", "command": ("/bin/kubernetes", "etcd", "--name=a b"), "position": 3}
    return supervisor.Program(**{**values, **changes})  # type: ignore[arg-type]


def test_the_control_socket_is_closed_to_others() -> None:
    config = parsed(supervisor.daemon_config(RUN, LOG))
    assert config["unix_http_server"]["chmod"] == "0600"
    assert config["include"]["files"] == "/run/mlops-platform/test/programs/*.conf"


def test_a_program_is_restarted_by_supervisord_and_started_by_us() -> None:
    section = parsed(supervisor.program_config(program(), LOG))["program:etcd"]
    assert section["autostart"] == "false"
    assert section["autorestart"] == "true"
    assert section["priority"] == "3"
    assert section["stdout_logfile"] == "/var/log/test/etcd.log"


def test_arguments_with_blanks_and_percents_arrive_whole() -> None:
    section = parsed(supervisor.program_config(program(command=("/bin/x", "100% sure")), LOG))["program:etcd"]
    assert section["command"] == "/bin/x '100%% sure'"


def test_supervisord_reads_what_we_write(tmp_path: Path) -> None:
    (tmp_path / "programs").mkdir()
    text = supervisor.program_config(program(environment={"HTTPS_PROXY": "http://p:3128/%20"}), tmp_path)
    (tmp_path / "programs" / "etcd.conf").write_text(text)
    (tmp_path / "supervisord.conf").write_text(supervisor.daemon_config(tmp_path, tmp_path))
    options = ServerOptions()
    options.realize(["-c", str(tmp_path / "supervisord.conf")])
    [group] = options.process_group_configs
    [process] = group.process_configs
    assert process.command == "/bin/kubernetes etcd '--name=a b'"
    assert process.environment["HTTPS_PROXY"] == "http://p:3128/%20"


def test_a_changed_input_changes_the_configuration(tmp_path: Path) -> None:
    settings = tmp_path / "kubelet.yml"
    settings.write_text("maxPods: 1")
    before = supervisor.program_config(program(inputs=(settings,)), LOG)
    assert supervisor.program_config(program(inputs=(settings,)), LOG) == before
    settings.write_text("maxPods: 2")
    assert supervisor.program_config(program(inputs=(settings,)), LOG) != before


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "etcd.log"
    log.write_text("".join(f"line {number}\n" for number in range(100)))
    assert supervisor.last_lines(log, 2) == "line 98\nline 99"
    assert supervisor.last_lines(tmp_path / "none.log") == "(it printed nothing)"


def test_no_supervisord_is_not_alive(tmp_path: Path) -> None:
    assert not supervisor.Supervisor(tmp_path / "none.sock").alive()


@pytest.mark.parametrize("name", ["a", "b"])
def test_fingerprint_depends_on_the_name_too(tmp_path: Path, name: str) -> None:
    for path in (tmp_path / "a", tmp_path / "b"):
        path.write_text("same")
    other = "b" if name == "a" else "a"
    assert supervisor.fingerprint([tmp_path / name]) != supervisor.fingerprint([tmp_path / other])
