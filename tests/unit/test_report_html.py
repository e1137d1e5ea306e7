"""report.html: one page that stands alone, tells everything and runs nothing."""

from __future__ import annotations

import gc
import re
import time
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest
from ansible_collections.mlops.platform.plugins.module_utils import report_html
from ansible_collections.mlops.platform.plugins.module_utils.report_html import html
from report_documents import HOSTILE, empty_run, experiment_run, failed_run, healthy_run

VOID = {"col", "meta", "link", "br", "img", "input", "hr"}
LARGEST_BYTES = 200_000


class Page(HTMLParser):
    """The elements and the text of a page; a tag that is not closed where it must be is an error."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of all elements of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.mark.parametrize(
    "document", [healthy_run(), failed_run(), failed_run(HOSTILE), empty_run(), experiment_run(model=HOSTILE)]
)
def test_it_is_whole_and_stands_alone(document: dict[str, Any]) -> None:
    text = html(document)
    page = Page(text)
    assert not {"script", "link", "iframe", "object"} & {name for name, _ in page.elements}
    assert all(str(item["src"]).startswith("data:image/svg+xml;base64,") for item in page.all("img"))
    assert not re.findall(r"url\(|@import|@font-face", text)
    assert [name for _, attributes in page.elements for name in attributes if name.startswith("on")] == []
    outside = [item["href"] for item in page.all("a") if not str(item["href"]).startswith(("#", "http://10."))]
    assert outside == ["dashboards.html"] * bool(document["dashboards"]) + ["report.json", "junit.xml"]
    ids = [str(attributes["id"]) for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [str(attributes["aria-labelledby"]) for _, attributes in page.elements if "aria-labelledby" in attributes]
    assert set(named) <= set(ids)
    assert {str(item["href"]).removeprefix("#") for item in page.all("use")} <= set(ids)
    levels = [int(name[1]) for name, _ in page.elements if re.fullmatch(r"h\d", name)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels)), levels
    assert all("scope" in item for item in page.all("th"))
    assert len(text.encode("utf-8", "backslashreplace")) < LARGEST_BYTES


def test_everything_of_a_healthy_run_is_told() -> None:
    text = Page(html(healthy_run())).text
    for told in (
        "Healthy", "2026-09-21 14:13:20", "9.0 s", "v1.36.3", "4 of 4", "preflight → minio → mlflow", "Wave 1",
        "critical path", "check 1", "web:80/", "200", "as expected", "Service ml/minio", "r/mlflow:1", "Wave 2",
        "minio (1 min 15 s)", "50m", "256 Mi", "1 Gi", "512 Mi", "node1", "2 CPU, 16 Gi of memory, 110 pods",
        "models:/iris@champion", "0.97", "login: Secret ml/minio-admin", "do component_health", "standard",
        f"sha256:{'0' * 64}", "dashboards.html", "58 panels, 1 alert fires: TargetDown",
    ):  # fmt: skip
        assert told in text, told
    assert "What failed" not in text


def test_failures_come_first_with_cause_evidence_and_next_step() -> None:
    text = Page(html(failed_run("it is down"))).text
    order = ("Failed", "What failed", "it is down", "Observed", "Expected", "Next step", "Last lines of", "Timeline")
    places = [text.index(told) for told in order]
    assert places == sorted(places)
    assert "Not touched, because what they require failed: mlflow (requires minio)" in text
    assert "not tried: the rollout is not complete" in text


def test_a_refused_run_says_why() -> None:
    text = Page(html(empty_run())).text
    assert "mlflow_port is 'many'" in text
    assert "nothing has to be undone" in text
    assert "Timeline" not in text


def test_no_value_becomes_markup() -> None:
    page = Page(html(failed_run(HOSTILE)))
    assert page.all("script") == []
    assert "<script>alert('x')</script> & \"quoted\"" in page.text


def test_an_address_is_a_link_only_where_it_is_one_of_the_web() -> None:
    assert report_html.link("API: http://10.0.0.1:1  (login: Secret a/b)") == {
        "name": "API", "address": "http://10.0.0.1:1", "url": "http://10.0.0.1:1", "login": "Secret a/b",
    }  # fmt: skip
    assert report_html.link("Bad: javascript:alert(1)") == {
        "name": "Bad", "address": "javascript:alert(1)", "url": "", "login": "",
    }  # fmt: skip


def test_a_large_platform_is_a_small_page_soon_made() -> None:
    document = healthy_run(tuple(f"component_{number}" for number in range(32)), checks=6)
    assert len(document["phases"]) == 32 * 7
    gc.collect()  # what other tests left is not the page's work, and neither is that of their threads
    began = time.thread_time()
    text = html(document)
    assert time.thread_time() - began < 0.5
    assert len(text.encode()) < LARGEST_BYTES


def test_a_long_value_is_cut_and_says_so() -> None:
    assert report_html.cut("x" * 410) == "x" * 400 + "… (10 characters more in report.json)"
    text = html(failed_run("x" * 100_000))
    assert len(text) < LARGEST_BYTES
    assert "characters more in report.json" in text


def test_places_on_the_axis() -> None:
    apply = {"phase": "apply", "begin_seconds": 10.0, "duration_seconds": 5.0, "critical": True, "failed": False}
    wait = {"phase": "wait", "begin_seconds": 15.0, "duration_seconds": 0.0, "critical": False, "failed": False}
    chart = report_html.chart("t", {"a": [apply, wait]}, 10.0, 30.0)
    marks = [(mark["second"], mark["left"]) for mark in chart["ticks"]]
    assert marks == [(10, 0), (15, 25), (20, 50), (25, 75), (30, 100)]
    (row,) = chart["rows"]
    assert (row["seconds"], row["critical"], row["failed"]) == (5.0, True, False)
    assert {bar["phase"]: (bar["left"], bar["width"]) for bar in row["bars"]} == {
        "apply": (0, 25),
        "wait": (25, report_html.NARROWEST_PERCENT),
    }


def test_without_waves_all_components_are_shown() -> None:
    document = {**healthy_run(), "waves": []}
    assert [[row["name"] for row in chart["rows"]] for chart in report_html.charts(document)] == [
        ["preflight", "components"],
        ["minio", "mlflow"],
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0.00 s"), (0.144, "0.14 s"), (33.57, "33.6 s"), (59.96, "1 min"), (104, "1 min 44 s"), (3725, "1 h 2 min")],
)
def test_seconds(value: float, text: str) -> None:
    assert report_html.seconds(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (200, "200"), ("text", "text"), (True, "true"), ([401, 401], "401, 401"), ([], ""),
        ({"a": 1, "b": ["x", "y"]}, "a: 1\nb: x, y"), ([{"a": 1}], '[{"a": 1}]'), (None, "null"),
    ],
)  # fmt: skip
def test_what_was_observed(value: object, text: str) -> None:
    assert report_html.shown(value) == text


@pytest.mark.parametrize(("bad", "said"), [(40, "Promoted"), (118, "Undecided"), (400, "Rejected")])
def test_an_experiment_is_told_with_its_numbers_and_a_picture(bad: int, said: str) -> None:
    document = experiment_run(bad)
    page = Page(html(document))
    assert f"{said}: iris, version 2 against version 1" in page.text
    assert " ".join(document["experiments"][0]["reason"].split()) in " ".join(page.text.split())
    assert "8.00 % 120 of 1500" in page.text
    assert len(page.all("img")) == 1
