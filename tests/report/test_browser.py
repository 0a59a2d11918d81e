"""The page in a real browser: nothing breaks, nothing sticks out, both themes show."""

import shutil
import socket

import browser as browsers
import pytest
from sample_runs import make_run

from robustlabels.report import write_report

pytestmark = pytest.mark.skipif(
    browsers.binary() is None or shutil.which("chromedriver") is None,
    reason="needs chromium and chromedriver",
)
PAPER = {"light": "rgb(255, 255, 255)", "dark": "rgb(21, 24, 29)"}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    make_run(folder / "a run with a rather long name", hides=True)
    names = ["</script><b>", *(f"a long class name {k}" for k in range(9))]
    make_run(folder / "colour", seeds=(0, 1), shape=(6, 6, 3), names=names)
    return write_report([folder], folder / "report.html")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with browsers.browsing(tmp_path_factory.mktemp("profile")) as driven:
        yield driven


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_shows(page, browser, width, scheme):
    browser.look(page, width=width, scheme=scheme)
    # Everything that is folded is looked at too.
    browser.run("document.querySelectorAll('details').forEach(d => d.open = true)")
    assert browser.complaints() == []
    assert browser.run("return document.documentElement.scrollWidth") <= width
    broken = "[...document.images].filter(i => !i.complete || !i.naturalWidth).length"
    assert browser.run(f"return {broken}") == 0
    assert browser.run("return document.images.length") > 20
    paper = "return getComputedStyle(document.body).backgroundColor"
    assert browser.run(paper) == PAPER[scheme]
    ink = (
        "[...document.querySelectorAll('svg text')].map(t => getComputedStyle(t).fill)"
    )
    assert PAPER[scheme] not in browser.run(f"return {ink}")
    overhanging = """return [...document.querySelectorAll('td, figcaption, p, h3')]
        .filter(e => !e.closest('.scroll') && e.scrollWidth > e.clientWidth + 1)
        .map(e => e.textContent)"""
    assert browser.run(overhanging) == []


def test_the_button_turns_the_theme(page, browser):
    browser.look(page, width=1400, scheme="light")
    seen = "return getComputedStyle(document.body).backgroundColor"
    for scheme in ("dark", "light"):
        browser.run("document.getElementById('theme').click()")
        assert browser.run(seen) == PAPER[scheme]


def test_figures_differ_between_themes_and_ids_are_unique(page, browser):
    label = "return getComputedStyle(document.querySelector('svg text')).fill"
    seen = set()
    for scheme in ("light", "dark"):
        browser.look(page, width=1400, scheme=scheme)
        seen.add(browser.run(label))
    assert len(seen) == 2
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_nothing_is_asked_of_anybody(page, browser):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x.png"
        browser.look(page, width=1400, scheme="light")
        loaded = "return performance.getEntriesByType('resource').map(e => e.name)"
        assert all(name.startswith("data:") for name in browser.run(loaded))
        # The page's own policy would not even allow it.
        browser.run(f"new Image().src = '{address}'")
        server.settimeout(0.3)
        with pytest.raises(TimeoutError):
            server.accept()
    assert any("Content Security" in c["message"] for c in browser.complaints())
