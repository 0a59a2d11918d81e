import html
import html.parser
import json
import re
import urllib.parse

import numpy as np
import pytest
from sample_runs import EPSILONS, ODD, make_run, make_sweep

from robustlabels.report import write_report

VOID = {"meta", "link", "img", "br", "wbr"}


class Page(html.parser.HTMLParser):
    """What a page holds, by the standard parser."""

    def __init__(self, path):
        super().__init__()
        self.path, self.source = path, path.read_text()
        self.figures, self.links, self.tables, self.tags = [], [], [], []
        self.headings, self.alts, self.summaries, self._open = [], [], [], []
        self.feed(self.source)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.tags.append((tag, attrs))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "figure":
            self.figures.append({"caption": "", "links": []})
        if tag == "table":
            self.tables.append([])
        if tag == "tr":
            self.tables[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
        if tag in ("h1", "h2", "h3", "h4"):
            self.headings.append([tag, ""])
        if tag == "a":
            self.links.append(attrs["href"])
            if "figcaption" in self._open:
                self.figures[-1]["links"].append(attrs["href"])

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "figcaption" in self._open:
            self.figures[-1]["caption"] += data
        elif "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data
        elif self._open and self._open[-1] in ("h1", "h2", "h3", "h4"):
            self.headings[-1][1] += data

    @property
    def titles(self):
        return [title for tag, title in self.headings if tag == "h2"]

    def target(self, link):
        return self.path.parent / urllib.parse.unquote(link)

    def row(self, name):
        """The row of a run in the table of accuracies."""
        return next(row for row in self.accuracies() if row[0] == name)

    def accuracies(self):
        return next(t for t in self.tables if len(t) > 1 and "accuracy" in t[1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("all")
    make_run(folder / "runs/one", hides=True)
    make_run(folder / "runs/three", seeds=(0, 1, 2), shape=(6, 6, 3), objective="glvq")
    make_run(folder / "runs/odd & <b>", names=ODD, objective="<i>")
    make_run(folder / "runs/old", state="old")
    make_run(folder / "runs/gone", state="diverged")
    make_run(folder / "runs/new", state="new")
    return folder


@pytest.fixture(scope="module")
def page(folder):
    return Page(write_report([folder / "runs"], folder / "else where/page.html"))


def records(run, **wanted):
    read = [json.loads(p.read_text()) for p in (run / "evaluation").glob("*.json")]
    return [
        fields
        for fields in read
        if all(fields.get(name) == value for name, value in wanted.items())
    ]


def test_every_figure_has_a_caption_and_sources_that_exist(page):
    assert len(page.figures) > 10
    for figure in page.figures:
        assert len(figure["caption"]) > 40
        assert figure["links"]
    assert not re.search(r"<figure>(?!<(div|ul))", page.source)
    for link in page.links:
        if link.startswith("#"):
            assert f'id="{link[1:]}"' in page.source
        else:
            assert page.target(link).is_file()


def test_every_section_is_there_and_every_picture_is_described(page):
    assert page.titles == [
        "Read this first",
        "What was run",
        "Results",
        "Robustness curves",
        "Confidence",
        "Calibration",
        "Confusion",
        "Adversarial examples",
        "How far the fallen moved",
        "Fooling images",
        "Hidden gradients",
        "Training",
        "Complete configs",
    ]
    for tag, attrs in page.tags:
        if tag == "img":
            assert attrs["alt"]
        if tag == "svg":
            assert attrs["role"] == "img"
            assert attrs["aria-label"]


def test_numbers_of_one_seed_are_those_of_the_records(folder, page):
    (clean,) = records(folder / "runs/one", attack="none")
    row = page.row("one")
    percent = [f"{100 * clean[k]:.1f}" for k in ("value", "low", "high")]
    assert row[1].startswith("{} [{}, {}]".format(*percent))
    for attack, start in (("fgsm", 5), ("pgd", 8)):
        for shift, epsilon in enumerate(EPSILONS):
            wanted = {"attack": attack, "loss": "worst", "epsilon": epsilon}
            (record,) = records(folder / "runs/one", **wanted)
            assert row[start + shift].startswith(f"{100 * record['value']:.1f} [")


def test_means_and_stds_over_seeds_are_those_of_numpy(folder, page):
    row = page.row("three")
    values = [r["value"] for r in records(folder / "runs/three", attack="none")]
    assert len(values) == 3

    def shown(values):
        return f"{100 * np.mean(values):.1f} ± {100 * np.std(values, ddof=1):.1f}"

    assert row[1].startswith(shown(values))
    assert row[2].startswith(shown([1 - value for value in values]))
    wanted = {"attack": "pgd", "loss": "worst", "epsilon": "0.1"}
    values = [r["value"] for r in records(folder / "runs/three", **wanted)]
    assert row[9].startswith(shown(values))


def test_confidence_on_left_out_classes_is_shown_where_it_was_measured(tmp_path, page):
    assert "AUROC" not in page.source
    assert "left-out" not in page.source
    run = make_run(tmp_path / "run", seeds=(0, 1), left_out=True)
    mine = Page(write_report([run], tmp_path / "report.html"))
    table = next(t for t in mine.tables if len(t) > 1 and "AUROC" in t[1])
    found = [each["values"] for each in records(run, kind="left_out")]
    assert len(found) == 2

    def shown(values, form):
        mean, std = np.mean(values), np.std(values, ddof=1)
        return f"{mean:{form}} ± {std:{form}}"

    medians = [100 * values["median_confidence"] for values in found]
    cell = table[2][1 + table[1].index("left-out classes")]
    assert cell.startswith(shown(medians, ".1f"))
    mean = np.mean([values["auroc"] for values in found])
    assert table[2][1 + table[1].index("AUROC")].startswith(f"{mean:.3f} ±")
    assert "images of left-out classes median" in mine.source
    assert sum("AUROC: in which share" in f["caption"] for f in mine.figures) == 1


def test_the_best_of_a_column_is_marked(page):
    cells = [row[1] for row in page.accuracies()[2:] if row[1][0].isdigit()]
    best = {float(cell.split()[0]) for cell in cells if "(best)" in cell}
    assert best == {max(float(cell.split()[0]) for cell in cells)}


def test_text_of_files_is_escaped(page):
    body = page.source.split("<body>")[1].split("<script>")[0]
    known = {"a", "b", "br", "button", "code", "details", "summary", "figure", "svg"}
    known |= {"dd", "dl", "div", "dt", "figcaption", "h1", "h2", "h3", "h4", "header"}
    known |= {"img", "li", "main", "nav", "ol", "p", "pre", "section", "small", "span"}
    known |= {"strong", "table", "tbody", "td", "th", "thead", "tr", "ul", "wbr"}
    known |= {"g", "path", "text", "defs", "use", "clipPath", "rect", "image"}
    assert set(re.findall(r"<([A-Za-z]\w*)", body)) <= known
    for name in ("odd & <b>", "<i>", *ODD[:4]):
        assert html.escape(name) in body


def test_runs_in_any_state_say_so(page):
    assert "diverged at step 840" in page.source
    assert "lower the learning rate" in page.source
    assert "not trained yet" in page.source
    assert page.row("gone")[1] == "diverged"
    assert set(page.row("new")[1:]) == {"\N{EN DASH}"}
    assert "Not checked for hidden gradients: old." in page.source


def test_caveats_are_collected(page):
    first = page.source.split('id="first"')[1].split("</section>")[0]
    assert "targeted stronger than untargeted" in first
    assert "more steps weaker" not in first
    assert "The losses disagree" in first
    assert "12.0 % of the input gradients of the training loss" in first
    assert "softmax is given as scores" in first


def test_nothing_is_fetched(page):
    assert not re.search(r"""(src|href)=["']?(https?:)?//""", page.source)
    assert all(a["src"].startswith("data:") for t, a in page.tags if t == "img")


def test_the_same_folders_give_the_same_page_and_no_other_file(folder, page):
    again = write_report([folder / "runs"], folder / "else where/again.html")
    assert again.read_bytes() == page.path.read_bytes()
    assert {p.name for p in again.parent.iterdir()} == {"page.html", "again.html"}


def test_runs_without_anything_make_a_page_without_it(tmp_path):
    runs = [make_run(tmp_path / n, state=n) for n in ("new", "training")]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert page.titles == [
        "Read this first",
        "What was run",
        "Training",
        "Complete configs",
    ]


def test_a_sweep_has_its_grid(tmp_path):
    sweep = make_sweep(tmp_path / "sweep", peaks=(0.1, 0.01), state="old")
    page = Page(write_report([sweep], sweep / "report.html"))
    assert "The sweep" in page.titles
    grids = [t for t in page.tables if "objective.name ↓" in t[0][0]]
    assert len(grids) == 1 + len(EPSILONS)
    for grid in grids:
        assert grid[0][1:] == ["0.1", "0.01"]
        assert [row[0] for row in grid[1:]] == ["softmax", "sng"]
        assert grid[2][2] == "diverged"
    for i, peak in enumerate((0.1, 0.01)):
        (clean,) = records(sweep / f"objective=softmax,peak={peak}", attack="none")
        assert grids[0][1][1 + i].startswith(f"{100 * clean['value']:.1f} [")
    row = page.row("objective=softmax,peak=0.1")
    assert row[1:3] == ["softmax", "0.1"]


def test_a_run_keeps_its_figures_beside_its_page(tmp_path):
    run = make_run(tmp_path / "run")
    write_report([run], run / "report.html")
    names = {path.name for path in (run / "figures").iterdir()}
    assert names == {
        "calibration.png",
        "confidence.png",
        "confusion.png",
        "examples.png",
        "fooling.png",
        "robustness.png",
        "training.png",
    }
    assert all(p.read_bytes()[:4] == b"\x89PNG" for p in (run / "figures").iterdir())


def test_missing_images_are_named(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "evaluation/fooling-0.npz").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"fooling-0\.npz is missing or dam"):
        write_report([run], tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


def test_an_array_that_is_missing_is_named(tmp_path):
    run = make_run(tmp_path / "run")
    np.savez(run / "evaluation/fooling-0.npz", images=np.zeros((1, 8, 8, 1)))
    message = r"fooling-0\.json comes without the arrays \['confidences', 'decisions',"
    with pytest.raises(ValueError, match=message):
        write_report([run], tmp_path / "report.html")
