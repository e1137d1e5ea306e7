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


def junit(document: Mapping[str, Any]) -> str:
    """The whole XML document of a report.

    A check that was not healthy is a failure, one that was not tried is skipped, and what is not a check and
    could not be done is an error, in the suite of the host where it happened.
    """
    root = ET.Element("testsuites", name=f"mlops.platform {document['verb']}")
    reported = {part["name"]: part for part in document["components"]}
    errors = [failure for failure in document["failures"] if failure["kind"] != "check"]
    for name in [*reported, *dict.fromkeys(item["host"] for item in errors if item["host"] not in reported)]:
        part = reported.get(name, {"checks": [], "version": "", "namespace": "", "duration_seconds": 0.0})
        _suite(root, name, part, document, [failure for failure in errors if failure["host"] == name])
    suites = root.findall("testsuite")
    for count in ("tests", "failures", "errors", "skipped"):
        root.set(count, str(sum(int(suite.attrib[count]) for suite in suites)))
    root.set("time", _seconds(document["duration_seconds"]))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _suite(
    root: ET.Element,
    name: str,
    part: Mapping[str, Any],
    document: Mapping[str, Any],
    errors: list[Mapping[str, Any]],
) -> None:
    suite = ET.SubElement(
        root,
        "testsuite",
        name=_text(name),
        tests=str(len(part["checks"]) + len(errors)),
        failures=str(sum(not check["healthy"] and check["attempts"] > 0 for check in part["checks"])),
        errors=str(len(errors)),
        skipped=str(sum(check["attempts"] == 0 for check in part["checks"])),
        time=_seconds(part["duration_seconds"]),
        timestamp=str(document["started_at"])[:19],  # xs:dateTime without a zone is what readers agree on
        hostname=_text(part["namespace"] or name),
    )
    properties = ET.SubElement(suite, "properties")
    for key in ("version", "namespace"):
        ET.SubElement(properties, "property", name=key, value=_text(part[key]))
    for check in part["checks"]:
        case = _case(suite, name, check["name"], check["duration_seconds"])
        told = f"observed: {_plain(check['observed'])}\nexpected: {_plain(check['expected'])}"
        if check["attempts"] == 0:
            ET.SubElement(case, "skipped", message=_text(check["message"]))
        elif not check["healthy"]:
            failure = ET.SubElement(case, "failure", message=_text(check["message"]), type=_text(check["type"]))
            failure.text = _text(f"{check['message']}\n{told}")
        output = f"target: {check['target']}\nattempts: {check['attempts']}\n{told}"
        ET.SubElement(case, "system-out").text = _text(output)
    for item in errors:
        case = _case(suite, name, item["task"] or "reach the host", 0.0)
        first = item["message"].partition("\n")[0]
        error = ET.SubElement(case, "error", message=_text(first), type=_text(item["kind"]))
        error.text = _text(f"{item['message']}\nnext step: {item['next_step']}")


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
