# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as JUnit XML, which CI systems show: a suite a component, a case a check."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree as ET

# What XML 1.0 (section 2.2) does not allow, however it is escaped.
FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
COUNTED = {
    "tests": "testcase",
    "failures": "testcase/failure",
    "errors": "testcase/error",
    "skipped": "testcase/skipped",
}


def junit(document: Mapping[str, Any]) -> str:
    """The whole XML document of a report.

    A check that was not healthy is a failure, and what is not a check and could not be done is an error, in the
    suite of the host where it happened. Skipped are checks that were not tried and components that were not
    touched, because another one failed.
    """
    root = ET.Element("testsuites", name=f"mlops.platform {document['verb']}")
    reported = {part["name"]: part for part in document["components"]}
    others = [failure for failure in document["failures"] if failure["kind"] != "check"]
    for name in [*reported, *dict.fromkeys(item["host"] for item in others if item["host"] not in reported)]:
        part = reported.get(name, {"checks": [], "version": "", "namespace": "", "duration_seconds": 0.0})
        _suite(root, name, part, document, [failure for failure in others if failure["host"] == name])
    suites = root.findall("testsuite")
    for count in ("tests", "failures", "errors"):  # Jenkins' schema knows no "skipped" here
        root.set(count, str(sum(int(suite.attrib[count]) for suite in suites)))
    root.set("time", _seconds(document["duration_seconds"]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element,
    name: str,
    part: Mapping[str, Any],
    document: Mapping[str, Any],
    others: list[Mapping[str, Any]],
) -> None:
    timestamp = str(document["started_at"])[:19]  # xs:dateTime without a zone is what readers agree on
    seconds = _seconds(part["duration_seconds"])
    suite = ET.SubElement(root, "testsuite", name=_text(name), time=seconds, timestamp=timestamp)
    properties = ET.SubElement(suite, "properties")
    for key in ("version", "namespace"):
        ET.SubElement(properties, "property", name=key, value=_text(part[key]))
    for check in part["checks"]:
        case = _case(suite, name, check["name"], check["duration_seconds"])
        seen = f"observed: {_plain(check['observed'])}\nexpected: {_plain(check['expected'])}"
        if check["attempts"] == 0:
            ET.SubElement(case, "skipped", message=_text(check["message"]))
        elif not check["healthy"]:
            failure = ET.SubElement(case, "failure", message=_text(check["message"]), type=_text(check["type"]))
            failure.text = _text(f"{check['message']}\n{seen}")
        output = f"target: {check['target']}\nattempts: {check['attempts']}\n{seen}"
        ET.SubElement(case, "system-out").text = _text(output)
    for item in others:
        case = _case(suite, name, item["task"].rpartition(" : ")[2] or "reach the host", 0.0)
        tag = "skipped" if "blocked_by" in item else "error"
        first = item["message"].partition("\n")[0]
        told = ET.SubElement(case, tag, message=_text(first), type=_text(item["kind"]))
        told.text = _text(f"{item['message']}\nnext step: {item['next_step']}")
    for count, cases in COUNTED.items():
        suite.set(count, str(len(suite.findall(cases))))


def _case(suite: ET.Element, component: str, name: str, seconds: float) -> ET.Element:
    return ET.SubElement(
        suite, "testcase", classname=_text(f"mlops.platform.{component}"), name=_text(name), time=_seconds(seconds)
    )


def _text(value: object) -> str:
    """Text that XML can hold: a control character is written as its code point."""
    return FORBIDDEN.sub(lambda found: f"\\x{ord(found[0]):02x}", str(value))


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _seconds(value: float) -> str:
    return f"{value:.3f}"
