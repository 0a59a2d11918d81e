"""The page of a comparison: what it shows, where it leads, and that it asks nobody."""

import html
import itertools
import pathlib
import re
import shutil
import sys

import pytest
from sample_tables import DIVERGED, NOTHING, OBJECTIVES, QUESTIONS, TIMES, large, small

from robustlabels.comparison.drawings import spread
from robustlabels.comparison.exports import change, written
from robustlabels.comparison.page import write_page

sys.path.append(str(pathlib.Path(__file__).parents[1] / "report"))
import browser as browsers
from test_page import Page

PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparison")
    written = write_page(large(), folder)
    assert written == folder / "report.html"
    assert [path.name for path in folder.iterdir()] == ["report.html"]
    return Page(written)


def cells(page):
    """The HTML of the cells of values by row."""
    section = page.source.split('<section id="table"')[1].split("</table>")[0]
    rows = section.split("<tbody>")[1].split("</tr>")[:-1]
    return [re.findall(r"<td.*?</td>", row) for row in rows]


def test_the_sections(page):
    assert page.titles == [
        "Read this first",
        "Every objective, every question",
        "Robustness curves",
        "Accuracy and training images",
        "Accuracy and swapped labels",
        "Cost and benefit",
        "Hidden gradients",
        "What was tuned",
    ]
    assert "10 objectives on cifar10 &lt;i&gt;, compared with softmax" in page.source


def test_what_is_not_there_has_no_section(tmp_path):
    page = Page(write_page(small(), tmp_path))
    assert page.titles == ["Read this first", "Every objective, every question"]
    assert "<svg" not in page.source
    assert f"Why {NOTHING}" not in page.source


def test_the_verdict_comes_first(page):
    first = page.source.split('<section id="first"')[1].split("</section>")[0]
    assert "<li>label_smoothing helps, compared with softmax" in first
    assert "Nothing &lt; nobody &amp; |bert| has no *figures*." in first
    facts = dict(re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", first))
    assert facts["seeds"] == "3"
    assert facts["cells without a value"] == "20 of 160"
    assert facts["runs that are not there yet"] == "5"


def test_every_value_is_shown_with_its_difference(page):
    table = large()
    shown = page.tables[0]
    assert shown[0][1:] == list(dict.fromkeys(q.group for q in QUESTIONS))
    assert shown[1][0] == "accuracy↑ %"
    assert shown[1][-1] == "parameters↓" + TIMES
    assert [row[0].removesuffix(" reference") for row in shown[2:]] == list(OBJECTIVES)
    for objective, row in zip(OBJECTIVES, shown[2:], strict=True):
        for question, cell in zip(QUESTIONS, row[1:], strict=True):
            entry = table.entries[objective][question.name]
            word = ""
            if entry.significant:
                better = table.better(objective, question)
                word = " (better)" if better else " (worse)"
            assert cell == written(entry.value, question) + word + change(
                entry, question
            )


def test_bold_and_colour_are_for_the_significant_only(page):
    table = large()
    strengths = {question.name: [] for question in QUESTIONS}
    for objective, row in zip(OBJECTIVES, cells(page), strict=True):
        for question, cell in zip(QUESTIONS, row, strict=True):
            entry = table.entries[objective][question.name]
            assert ("<b>" in cell) == entry.significant
            assert ("heat" in cell) == entry.significant
            if entry.significant:
                better = table.better(objective, question)
                assert ("heat better" if better else "heat worse") in cell
                share = float(re.search(r"--share:([\d.]+)", cell)[1])
                strengths[question.name].append((abs(entry.difference), share))
    assert sum(map(len, strengths.values())) > 20
    for found in filter(None, strengths.values()):
        largest = max(difference for difference, _ in found)
        for difference, share in found:
            assert share == pytest.approx(difference / largest, abs=1e-3)


def test_a_value_leads_to_its_run(page):
    table = large()
    for objective, row in zip(OBJECTIVES, cells(page), strict=True):
        for question, cell in zip(QUESTIONS, row, strict=True):
            entry = table.entries[objective][question.name]
            links = re.findall(r'href="(.*?)"', cell)
            if entry.value is None:
                assert links == []
                assert NOTHING in cell
                assert f'title="{html.escape(entry.missing)}"' in cell
            else:
                (link,) = links
                run = page.path.parent / entry.folder
                assert page.target(link) == run / "report.html"
    assert f"bert: {html.escape(DIVERGED)} (all)" in page.source


def test_questions_are_explained_twice(page):
    head, rest = page.source.split('<section id="table"')[1].split("<tbody>", 1)
    for question in QUESTIONS:
        assert f'title="{html.escape(question.meaning)}"' in head
        assert f"<dd>{html.escape(question.meaning)}</dd>" in rest


def test_figures_are_described(page):
    drawn = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(drawn) == 4
    for attrs in drawn:
        assert attrs["role"] == "img"
        assert "label_smoothing" in attrs["aria-label"]
    costs = page.source.split('<section id="costs"')[1].split("</section>")[0]
    for name in OBJECTIVES[:-1]:
        short = name if len(name) <= 22 else f"{name[:21]}…"
        assert f">{html.escape(short)}</text>" in costs
    assert page.source.count("softmax (reference)") == 4


def test_costs_need_both_a_time_and_an_area(tmp_path):
    table = large()
    for gone in ("training time", "robust area"):
        questions = tuple(q for q in table.questions if q.name != gone)
        page = Page(write_page(table._replace(questions=questions), tmp_path))
        assert "Cost and benefit" not in page.titles
        assert "Robustness curves" in page.titles


def test_signs_and_choices(page):
    signs, tuned = page.tables[1:]
    assert signs[1:] == [
        ["softmax", "none"],
        ["sng", "targeted stronger, zero gradients"],
    ]
    assert tuned == [
        ["objective", "learning_rate.peak", "runs", "objective.epsilon"],
        ["softmax", "0.1", "3", NOTHING],
        ["label_smoothing", NOTHING, "9", "0.1"],
    ]


def test_the_page_asks_for_nothing_and_is_the_same_again(page, tmp_path):
    outside = set(re.findall(r"https?://[^\s\"'<]*", page.source))
    assert outside == {"http://www.w3.org/1999/xlink"}
    assert all(tag not in ("img", "iframe") for tag, _ in page.tags)
    again = write_page(large(), tmp_path / "elsewhere")
    assert again.read_bytes() == page.path.read_bytes()


@pytest.mark.parametrize("places", [[0.5], [0.5] * 4, [1.0] * 30, [0.0, 0.97, 0.99]])
def test_names_are_spread_within_the_axes(places):
    moved = spread(places, gap=0.06)
    gap = min(0.06, 1 / len(places))
    assert all(b - a >= gap - 1e-9 for a, b in itertools.pairwise(moved))
    assert all(-1e-9 <= place <= 1 for place in moved)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if browsers.binary() is None or shutil.which("chromedriver") is None:
        pytest.skip("needs chromium and chromedriver")
    with browsers.browsing(tmp_path_factory.mktemp("profile")) as driven:
        yield driven


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_nothing_sticks_out(page, browser, width, scheme):
    browser.look(page.path, width=width, scheme=scheme)
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    paper = "return getComputedStyle(document.body).backgroundColor"
    assert browser.run(paper) == PAPER[scheme]
    overhanging = """return [...document.querySelectorAll('td, figcaption, p, dd, li')]
        .filter(e => !e.closest('.scroll') && e.scrollWidth > e.clientWidth + 1)
        .map(e => e.textContent)"""
    assert browser.run(overhanging) == []
