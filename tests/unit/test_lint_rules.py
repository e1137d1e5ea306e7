"""The house rules of tools/lint_rules: each refuses its bad examples and leaves the good ones alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = Path(sys.executable).with_name("ansible-lint")
ENABLED: list[str] = yaml.safe_load((ROOT / ".ansible-lint").read_text(encoding="utf-8"))["enable_list"]

# For each rule: tasks, plays or templates that it must refuse, and such as it must not.
TASKS: dict[str, tuple[list[str], list[str]]] = {
    "house-no-shell": (
        [
            "{name: Run it, ansible.builtin.shell: uptime, changed_when: false}",
            "{name: Run it, ansible.builtin.command: {argv: [uptime]}, changed_when: false}",
            "{name: Run it, ansible.builtin.raw: uptime, changed_when: false}",
            "{name: Run it, block: [{name: Run it, ansible.builtin.script: run.py, changed_when: false}]}",
        ],
        ["{name: Install it, ansible.builtin.apt: {name: shell}}"],
    ),
    "house-ordered-lists": (
        ["{name: Install some, ansible.builtin.apt: {name: '{{ some | intersect(others) }}'}}"],
        ["{name: Install some, ansible.builtin.apt: {name: \"{{ some | select('in', others) }}\"}}"],
    ),
    "house-no-hidden-failure": (
        [
            "{name: Try it, ansible.builtin.apt: {name: it}, ignore_errors: true}",
            "{name: Try it, ansible.builtin.apt: {name: it}, ignore_errors: '{{ ansible_check_mode }}', register: it}",
            "{name: Try it, ansible.builtin.apt: {name: it}, failed_when: false}",
            "{name: Try it, ansible.builtin.apt: {name: it}, ignore_unreachable: true}",
        ],
        ["{name: Try it, ansible.builtin.apt: {name: it}, register: it, failed_when: it.changed}"],
    ),
    "house-no-sleep": (
        [
            "{name: Sleep, ansible.builtin.pause: {seconds: 10}}",
            "{name: Sleep, ansible.builtin.wait_for: {timeout: 10}}",
        ],
        [
            "{name: Ask, ansible.builtin.pause: {prompt: Really}}",
            "{name: Wait for it, ansible.builtin.wait_for: {port: 80}}",
        ],
    ),
    "house-full-role-name": (
        [
            "{name: Provision it, ansible.builtin.include_role: {name: minio}}",
            "{name: Provision it, ansible.builtin.import_role: {name: component}}",
        ],
        [
            "{name: Provision it, ansible.builtin.include_role: {name: mlops.platform.minio}}",
            "{name: Provision it, ansible.builtin.include_role: {name: \"{{ it | default('mlops.platform.' ~ x) }}\"}}",
        ],
    ),
    "house-no-log": (
        [
            "{name: Say it, ansible.builtin.debug: {msg: '{{ database_password }}'}}",
            "{name: Say it, ansible.builtin.debug: {msg: it}, vars: {it: '{{ mlflow_aws_secret_access_key }}'}}",
            "{name: Apply it, kubernetes.core.k8s: {definition: {kind: Secret, stringData: {a: b}}}}",
            "{name: Say it, ansible.builtin.debug: {msg: '{{ database_password }}'}, no_log: false}",
        ],
        [
            "{name: Say it, ansible.builtin.debug: {msg: '{{ database_password }}'}, no_log: true}",
            "{name: Say which, ansible.builtin.debug: {msg: 'the Secret {{ mlflow_aws_secret }}'}}",
            "{name: Apply it, kubernetes.core.k8s: {definition: {kind: ConfigMap, data: {a: b}}}}",
        ],
    ),
    "house-name": (
        [
            "{name: Installs it, ansible.builtin.apt: {name: it}}",
            "{name: Installing it, ansible.builtin.apt: {name: it}}",
            "{name: Installed it, ansible.builtin.apt: {name: it}}",
            "{name: 'Install {{ it }} with apt', ansible.builtin.apt: {name: it}}",
            "{name: 'Install {{ it }} {{ version }}', ansible.builtin.apt: {name: it}}",
        ],
        [
            "{name: 'Install {{ it }}', ansible.builtin.apt: {name: it}}",
            "{name: Bring it, ansible.builtin.apt: {name: it}}",
            "{name: Process it, ansible.builtin.apt: {name: it}}",
            "{name: Feed it, ansible.builtin.apt: {name: it}}",
        ],
    ),
}
PLAYS: dict[str, tuple[list[str], list[str]]] = {
    "house-full-role-name": (["{name: Provision it, hosts: all, roles: [minio]}"], []),
    "house-name": (
        ["{name: Provisioning it, hosts: all}"],
        ["{name: Provision it, hosts: all, roles: [mlops.platform.images]}"],
    ),
}
TEMPLATES: dict[str, tuple[list[str], list[str]]] = {
    "house-no-secret-template": (
        ["---\nkind: Secret\n", '- {apiVersion: v1, kind: "Secret", metadata: {name: a}}\n'],
        [
            "kind: ConfigMap\ndata: {kind: SecretStore}\n",
            "kind: Secret # noqa: house-no-secret-template (a reason)\n",
            "volumes: [{secret: {secretName: a}}]\n",
        ],
    ),
    "house-json-values": (
        [
            "name: {{ it }}\n",
            'name: "{{ it }}"\n',
            "name: {{ it | default('a') }}\n",
            "name: {{ it | to_json }}-suffix\n",
            "name: prefix-{{ it | to_json }}\n",
            "{% for it in items %}\n- {{ it }}\n{% endfor %}\n",
            "{% set part %}\nname: {{ it }}\n{% endset %}\n{{ part }}\n",
            "text: |\n  name = {{ it }}\n",
            "name: {{ it | to_json if it else other }}\n",
            "name: {{ it | to_json\n",
        ],
        [
            "name: {{ it | to_json }}\n",
            "{name: {{ it | combine({'a': 1}) | ansible.builtin.to_json }}, b: 1}\n",
            "{% for it, key in {'a': 'b'}.items() %}\n- {{ it }}\n{% endfor %}\n",
            "{% set it = value | to_json %}\nname: {{ it }}\n",
            "{% set part %}\nname: {{ it | to_json }}\n{% endset %}\n{{ part }}\n",
            "{% set text %}\nname = {{ it }}\n{% endset %}\ntext: {{ text | to_json }}\n",
            "{% macro quoted(it) %}{{ it | to_json }}{% endmacro %}\nname: {{ quoted(value) }}\n",
            "{% import 'macros.j2' as shared %}\nname: {{ shared.labels(it) }}\n",
            "name: {{ ('a' if it else 'b') }}\n",
        ],
    ),
    "house-ordered-lists": (
        [
            "names: {{ some | difference(others) | to_json }}\n",
            "{% for it in some |ansible.builtin.union(a) %}{% endfor %}",
        ],
        ["names: {{ some | reject('in', others) | to_json }}\n", "text: the difference(s) | intersections\n"],
    ),
}
EXAMPLES = {"tasks": TASKS, "playbooks": PLAYS, "templates": TEMPLATES}


def file_name(folder: str, rule: str, kind: str, number: int) -> str:
    """Where an example stands in the project of the tests."""
    ending = "yml.j2" if folder == "templates" else "yml"
    return f"{folder}/{rule.replace('-', '_')}_{kind}_{number}.{ending}"


CASES = [
    (file_name(folder, rule, kind, number), rule, kind, text)
    for folder, examples in EXAMPLES.items()
    for rule, pair in examples.items()
    for kind, texts in zip(("bad", "good"), pair, strict=True)
    for number, text in enumerate(texts)
]


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> set[tuple[str, str]]:
    """Files of examples and the rules that they break, of one run with the project's own configuration."""
    project = tmp_path_factory.mktemp("project")
    for name, _, _, text in CASES:
        path = project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text if name.endswith("j2") else f"---\n- {text}\n", encoding="utf-8")
    configuration = yaml.safe_load((ROOT / ".ansible-lint").read_text(encoding="utf-8"))
    configuration["rulesdir"] = [str(ROOT / folder) for folder in configuration["rulesdir"]]
    (project / ".ansible-lint").write_text(yaml.safe_dump(configuration), encoding="utf-8")
    search = f"{PROGRAM.parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": search, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    command = [str(PROGRAM), "--format", "json", *(name for name, *_ in CASES)]
    done = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    matches: list[dict[str, Any]] = json.loads(done.stdout)
    return {(item["location"]["path"], item["check_name"].partition("[")[0]) for item in matches}


@pytest.mark.parametrize(("name", "rule", "kind", "text"), CASES, ids=[case[0] for case in CASES])
def test_a_rule_tells_bad_from_good(found: set[tuple[str, str]], name: str, rule: str, kind: str, text: str) -> None:
    assert ((name, rule) in found) == (kind == "bad"), text


def test_every_house_rule_is_enabled_and_has_examples() -> None:
    assert {rule for _, rule, kind, _ in CASES if kind == "bad"} == set(ENABLED)
    assert {rule for _, rule, kind, _ in CASES if kind == "good"} == set(ENABLED)
