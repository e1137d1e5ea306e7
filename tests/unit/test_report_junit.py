"""junit.xml: what CI systems count, and that no value breaks it."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest
from ansible_collections.mlops.platform.plugins.module_utils.report_junit import junit
from report_documents import HOSTILE, empty_run, failed_run, healthy_run

COUNTS = {"failures": "failure", "errors": "error", "skipped": "skipped"}
# The elements and attributes of the schema that Jenkins publishes (junit-10.xsd of its xUnit plugin), as far as used.
CASE_CHILDREN = {"skipped", "error", "failure", "system-out"}
ROOT_ATTRIBUTES = {"name", "tests", "failures", "errors", "time"}
SUITE_ATTRIBUTES = {"name", "tests", "failures", "errors", "skipped", "time", "timestamp"}


def parsed(document: dict[str, Any]) -> ET.Element:
    """The root of the XML, after what holds for every report."""
    text = junit(document)
    assert text.startswith('<?xml version="1.0" encoding="UTF-8"?>\n<testsuites ')
    root = ET.fromstring(text.encode())  # noqa: S314  (our own text)
    for suite in root:
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == SUITE_ATTRIBUTES
        cases = suite.findall("testcase")
        assert [child.tag for child in suite] == ["properties", *["testcase"] * len(cases)]
        assert int(suite.attrib["tests"]) == len(cases)
        for count, tag in COUNTS.items():
            assert int(suite.attrib[count]) == len(suite.findall(f"testcase/{tag}")), (suite.attrib["name"], count)
        for case in cases:
            assert set(case.attrib) == {"classname", "name", "time"}
            assert {child.tag for child in case} <= CASE_CHILDREN
            float(case.attrib["time"])
    assert set(root.attrib) == ROOT_ATTRIBUTES
    for count in ("tests", "failures", "errors"):
        assert int(root.attrib[count]) == sum(int(suite.attrib[count]) for suite in root)
    return root


def test_a_healthy_run() -> None:
    root = parsed(healthy_run())
    assert [(suite.attrib["name"], suite.attrib["tests"]) for suite in root] == [("minio", "2"), ("mlflow", "2")]
    assert (root.attrib["tests"], root.attrib["failures"], root.attrib["errors"]) == ("4", "0", "0")
    suite = root[0]
    assert suite.attrib["timestamp"] == "2026-09-21T14:13:20"
    assert suite.find("properties/property[@name='version']").attrib["value"] == "1.2"  # type: ignore[union-attr]
    case = suite.find("testcase")
    assert case is not None
    assert case.attrib == {"classname": "mlops.platform.minio", "name": "check 0", "time": "0.100"}
    assert case.findtext("system-out") == "target: web:80/\nattempts: 1\nobserved: 200\nexpected: 200"


def test_what_failed_what_was_not_tried_what_could_not_be_done() -> None:
    root = parsed(failed_run())
    assert {suite.attrib["name"]: tuple(suite.attrib[count] for count in COUNTS) for suite in root} == {
        "minio": ("1", "0", "1"),
        "mlflow": ("0", "0", "1"),
        "other": ("0", "1", "0"),
    }
    failure = root.find("testsuite/testcase/failure")
    assert failure is not None
    assert failure.attrib == {"message": "down", "type": "http"}
    assert failure.text == 'down\nobserved: {"down": "down"}\nexpected: 200'
    error = root.find("testsuite[@name='other']/testcase/error")
    assert error is not None
    assert error.attrib["message"] == "down"
    assert error.text is not None
    assert error.text.startswith("down\nmore of it\nnext step: ")
    blocked = root.find("testsuite[@name='mlflow']/testcase")
    assert blocked is not None
    assert blocked.attrib["name"] == "do component_apply"
    assert blocked.find("skipped") is not None


def test_a_run_that_was_refused() -> None:
    root = parsed(empty_run())
    assert (root.attrib["tests"], root.attrib["errors"]) == ("1", "1")
    assert "mlflow_port is 'many'" in str(root.findtext("testsuite/testcase/error"))


@pytest.mark.parametrize("text", [HOSTILE, "]]>", "\ud800", "\ufffe", "a\nb\tc", "é 漢 🙂"])
def test_any_value_can_be_told(text: str) -> None:
    failure = parsed(failed_run(text)).find("testsuite/testcase/failure")
    assert failure is not None
    shown = text.replace("\x1b", "\\x1b").replace("\x00", "\\x00").replace("\ud800", "\\xd800")
    assert failure.attrib["message"] == shown.replace("\ufffe", "\\xfffe")
