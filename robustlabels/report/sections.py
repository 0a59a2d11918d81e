"""The figures of the page, a section a question: panels, a caption, and the sources."""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from robustlabels.report import figures, grids, pooled, theme
from robustlabels.report.formats import Estimate, count, listed, percent
from robustlabels.report.html import Html, element, href, joined
from robustlabels.report.robustness import Attacked, clean_accuracy
from robustlabels.report.runs import Run, Sourced, flat

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "Section",
    "calibration",
    "confidence",
    "configs",
    "confusion",
    "drawn_section",
    "efficiency",
    "figure",
    "legend",
    "panels",
    "paths",
    "robustness",
    "training",
]

_COMPARABLE = 6


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
      identity: its anchor.
      title: its heading.
      body: what stands below.
      drawings: its figures by name, as functions that write a PNG to a path.
    """

    identity: str
    title: str
    body: Html
    drawings: tuple[tuple[str, Callable[[pathlib.Path], None]], ...] = ()


def figure(
    content: Html,
    caption: str,
    sources: Iterable[pathlib.Path],
    page: pathlib.Path,
) -> Html:
    """Something shown with its caption and links to what it was drawn from.

    Args:
      content: panels or a table.
      caption: what it shows and how to read it.
      sources: files.
      page: where the page will be.
    """
    files = list(dict.fromkeys(sources))
    folders: dict[pathlib.Path, list[Html]] = {}
    for path in files:
        link = element("a", path.name, href=href(path, page))
        run = path.parent.parent if path.parent.name == "evaluation" else path.parent
        folders.setdefault(run, []).append(link)
    several = len(folders) > 1
    lines = []
    for folder, links in folders.items():
        name = element("b", folder.name, ": ") if several else None
        apart = [joined(", " if i else None, link) for i, link in enumerate(links)]
        lines.append(element("p", name, apart))
    drawn = element("summary", f"Drawn from {count(len(files), 'file')}")
    return element(
        "figure",
        content,
        element(
            "figcaption",
            element("p", caption),
            element("details", drawn, lines, class_="sources"),
        ),
    )


def panels(
    topic: str, drawn: Sequence[tuple[str, str, "Figure"]], *, titles: bool
) -> Html:
    """Figures side by side as far as there is room: of a title, an alt text each."""
    shown = []
    for number, (title, alt, drawing) in enumerate(drawn):
        svg = theme.to_svg(drawing, f"{topic}-{number}", f"{title}: {alt}")
        heading = element("h3", title) if titles else None
        shown.append(element("div", heading, svg, class_="panel"))
    small = " small" if len(shown) > _COMPARABLE else ""
    return element("div", shown, class_="panels" + small)


def drawn_section(
    identity: str,
    title: str,
    content: Html,
    drawn: Sequence[tuple[str, str, "Figure"]],
) -> Section:
    """A section whose figures can be kept as files."""
    keep = [
        (identity, functools.partial(theme.save_png, drawing, f"{name}: {title}"))
        for name, _, drawing in drawn
    ]
    return Section(identity, title, content, tuple(keep))


def legend(names: Sequence[str]) -> Html:
    """Names with the markers of their series."""
    entries = []
    for index, name in enumerate(names):
        marker = figures.MARKERS[index // theme.SERIES % len(figures.MARKERS)]
        shape = {"o": "●", "s": "■", "D": "◆", "^": "▲", "v": "▼", "P": "✚"}[marker]
        paint = f"color: var(--{theme.series(index)})"
        key = element("span", shape, style=paint, aria_hidden="true")
        entries.append(element("li", key, " ", name))
    return element("ul", entries, class_="legend")


def paths(sources: Iterable[Sourced]) -> list[pathlib.Path]:
    """The files of some records and findings."""
    return [source.path for source in sources]


def _pooled(runs: Sequence[Run], kind: str) -> str:
    several = any(len(run.found(kind)) > 1 for run in runs)
    return " Seeds are pooled." if several else ""


def robustness(
    runs: Sequence[Run], attacked: Attacked, page: pathlib.Path
) -> Section | None:
    """Accuracy against epsilon: a panel an attack, or for many runs a panel a run."""
    shown = [r for r in runs if any(attacked.curve(r, a) for a in attacked.attacks)]
    if not shown:
        return None

    def line(run: Run, attack: str, name: str, index: int) -> figures.Line:
        curve = attacked.curve(run, attack)
        return figures.Line(name, index, clean_accuracy(run), curve)

    by_attack = 2 <= len(shown) <= _COMPARABLE
    if by_attack:
        names = [run.name for run in shown]
        by_panel = {
            a: [line(r, a, r.name, i) for i, r in enumerate(shown)]
            for a in attacked.attacks
        }
    else:
        names = attacked.attacks
        by_panel = {
            r.name: [line(r, a, a, i) for i, a in enumerate(attacked.attacks)]
            for r in shown
        }
    drawn = []
    for title, lines in by_panel.items():
        there = [line for line in lines if line.curve]
        drawn.append((title, _spoken(there), figures.robustness(there)))
    several = any(len(run.clean()) > 1 for run in shown)
    caption = (
        "Share of images that are still decided correctly as an attack may change them "
        "more: the worst row of each attack, which counts an image as lost if either "
        "loss fells it. Higher is better. Dashed: without an attack. Shaded: "
        + ("mean ± std over seeds." if several else "95 % interval.")
    )
    sources = [
        *paths(s for run in shown for s in run.clean()),
        *paths(
            s
            for run in shown
            for a in attacked.attacks
            for e in attacked.epsilons(a)
            for s in attacked.worst(run, a, e)
        ),
    ]
    body = joined(
        legend(names), panels("robustness", drawn, titles=len(drawn) > 1 or by_attack)
    )
    content = figure(body, caption, sources, page)
    return drawn_section("robustness", "Robustness curves", content, drawn)


def efficiency(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Accuracy against the share of the training images that was used."""
    groups: dict[str, dict[float, Run]] = {}
    for run in runs:
        groups.setdefault(_but_fraction(run), {})[_fraction(run)] = run
    lines: list[tuple[str, dict[float, Estimate]]] = []
    shown: list[Run] = []
    for group in groups.values():
        curve = {share: clean_accuracy(group[share]) for share in sorted(group)}
        there = {share: value for share, value in curve.items() if value is not None}
        if len(there) > 1:
            first, *_ = group.values()
            lines.append((_named(first), there))
            shown += [group[share] for share in there]
    if not lines:
        return None
    passes = {run.config["training"].get("passes", 1) for run in shown}
    equal = {0: "as many steps", 1: "as many epochs"}
    said = " or ".join(equal.get(p, f"{p} passes an epoch") for p in sorted(passes))
    several = any(len(run.clean()) > 1 for run in shown)
    caption = (
        "Accuracy on the test split against the share of the training images that were "
        f"used, each trained for {said} as with all of them. Shaded: "
        + ("mean ± std over seeds." if several else "95 % interval.")
    )
    alt = "; ".join(
        f"{name} "
        + ", ".join(f"{percent(v.mean)} % of {percent(s)} %" for s, v in curve.items())
        for name, curve in lines
    )
    title = "Accuracy and training images"
    drawing = figures.efficiency([curve for _, curve in lines])
    drawn = [(title, alt, drawing)]
    names = [name for name, _ in lines]
    body = joined(legend(names), panels("efficiency", drawn, titles=False))
    sources = [r.path for run in shown for r in run.clean()]
    return drawn_section(
        "efficiency", title, figure(body, caption, sources, page), drawn
    )


def _fraction(run: Run) -> float:
    return float(run.config.get("data", {}).get("train_fraction", 1.0))


def _but_fraction(run: Run) -> str:
    """All of a config but the share of the data."""
    fields = flat(run.config)
    fields.pop("data.train_fraction", None)
    return json.dumps(fields, sort_keys=True)


def _named(run: Run) -> str:
    """A run by what it was asked for, whatever its share of the data."""
    cell = {k: v for k, v in run.cell.items() if not k.endswith("train_fraction")}
    if cell:
        return ", ".join(map(str, cell.values()))
    objective = run.config.get("objective", {})
    codebook = objective.get("codebook", {})
    return str(codebook.get("name") or objective.get("name"))


def _spoken(lines: Sequence[figures.Line]) -> str:
    return "; ".join(
        f"{line.name} "
        + ", ".join(f"{percent(v.mean)} % at {e}" for e, v in line.curve.items())
        for line in lines
    )


def confidence(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Histograms of confidence on everything that a run was asked."""
    drawn, sources = [], []
    for run in runs:
        asked = {"test images": run.found("clean"), "noise": run.found("noise")}
        for (attack, loss), found in list(run.by_attack("adversarial").items())[:1]:
            asked[f"adversarial: {attack}, {loss}"] = found
        asked["fooling images"] = run.found("fooling")
        asked["images of left-out classes"] = run.found("left_out")
        strips = []
        for index, (name, found) in enumerate(asked.items()):
            histogram = pooled.histogram(found)
            median = pooled.medians(found)
            if histogram is not None:
                middle = median.mean if median else None
                strips.append(figures.Strip(name, index, *histogram, middle))
                sources += paths(found)
        if strips:
            alt = ", ".join(f"{s.name} median {percent(s.median)} %" for s in strips)
            drawn.append((run.name, alt, figures.confidence(strips)))
    if not drawn:
        return None
    caption = (
        "How sure the classifier is of its decision: of test images, of uniform noise, "
        "of the images by which the strongest attack felled examples, and of images "
        "made to fool it. Each histogram is as tall as its tallest bar; the line in it "
        "is the median. A classifier that knows what it does not know is sure of "
        "test images only." + _pooled(runs, "clean")
    )
    body = panels("confidence", drawn, titles=len(drawn) > 1)
    content = figure(body, caption, sources, page)
    return drawn_section("confidence", "Confidence", content, drawn)


def calibration(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Reliability diagrams."""
    drawn, sources = [], []
    for run in runs:
        if found := run.found("clean"):
            drawing = figures.reliability(**pooled.reliability(found))
            errors = [f.content.values["expected_calibration_error"] for f in found]
            alt = f"expected calibration error {percent(float(np.mean(errors)))} %"
            drawn.append((run.name, alt, drawing))
            sources += paths(found)
    if not drawn:
        return None
    caption = (
        "Test images by the confidence of their decision: how often the decisions of a "
        "bin are right, against how sure they are. Where blue ends in orange the "
        "classifier is too sure: blue is the accuracy, the top of orange the "
        "confidence. Where it ends in green it is not sure enough: the top of green is "
        "the accuracy. Below: how many images fall into each bin; gaps of few images "
        "mean little." + _pooled(runs, "clean")
    )
    body = panels("calibration", drawn, titles=len(drawn) > 1)
    content = figure(body, caption, sources, page)
    return drawn_section("calibration", "Calibration", content, drawn)


def confusion(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Which class is taken for which."""
    drawn, sources = [], []
    for run in runs:
        if found := run.found("clean"):
            matrix = pooled.confusion(found)
            names = [run.class_name(index) for index in range(len(matrix))]
            drawn.append(
                (run.name, _worst(matrix, names), grids.confusion(matrix, names))
            )
            sources += paths(found)
    if not drawn:
        return None
    caption = (
        "Test images by true class (rows) and decision (columns). Blue on the diagonal "
        "is right, orange beside it is wrong; the colour is the share of the row, and "
        "errors are drawn stronger than in proportion so that rare ones show."
        + _pooled(runs, "clean")
    )
    body = panels("confusion", drawn, titles=len(drawn) > 1)
    content = figure(body, caption, sources, page)
    return drawn_section("confusion", "Confusion", content, drawn)


def _worst(matrix: np.ndarray, names: Sequence[str]) -> str:
    """The most frequent mistake, in words."""
    wrong = matrix * ~np.eye(len(matrix), dtype=bool)
    if not wrong.any():
        return "no mistakes"
    row, column = divmod(int(np.argmax(wrong)), len(wrong))
    times = int(wrong[row, column])
    return f"most often {names[row]} is taken for {names[column]}, {times} times"


def training(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Losses and validation errors by epoch."""
    drawn, sources = [], []
    for run in runs:
        if not any(run.metrics.values()):
            continue
        kept = {r.seed: r.content.classifier.get("epoch") for r in run.clean()}
        best = {
            seed: kept.get(seed) or min(lines, key=_error)["epoch"]
            for seed, lines in run.metrics.items()
        }
        epochs = listed([str(epoch) for epoch in best.values()])
        drawn.append(
            (run.name, f"best epoch {epochs}", figures.training(run.metrics, best))
        )
        sources.append(run.folder / "metrics.jsonl")
    if not drawn:
        return None
    caption = (
        "Loss of training (orange) and validation (blue) above, validation error "
        "below, by epoch; a line a seed. The dot is the epoch whose model is kept."
    )
    body = panels("training", drawn, titles=len(drawn) > 1)
    content = figure(body, caption, sources, page)
    return drawn_section("training", "Training", content, drawn)


def _error(line: dict) -> float:
    error = line.get("validation_error")
    return float("inf") if error is None or np.isnan(error) else error


def configs(runs: Sequence[Run], page: pathlib.Path) -> Section:
    """The complete configs."""
    body = []
    for run in runs:
        link = element("a", "config.json", href=href(run.folder / "config.json", page))
        text = element("pre", json.dumps(run.config, indent=2))
        name = element("summary", run.name)
        body.append(element("details", name, element("p", link), text, class_="config"))
    return Section("configs", "Complete configs", joined(body))
