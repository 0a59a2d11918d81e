"""One self-contained page from any number of run folders."""

import importlib.resources
import os
import pathlib
import string
from collections.abc import Sequence

from robustlabels._files import whole
from robustlabels.report import (
    caveats,
    corrupted,
    distances,
    galleries,
    inside,
    mixing,
    overview,
    sections,
    tables,
    theme,
)
from robustlabels.report.formats import count, listed
from robustlabels.report.html import Html, element, joined
from robustlabels.report.robustness import Attacked, clean_accuracy, estimate
from robustlabels.report.runs import Run, read_runs
from robustlabels.report.sections import Section, figure

__all__ = ["fill", "write_report"]

_FOLDED_FROM = 7


def write_report(
    folders: Sequence[str | os.PathLike], output: str | os.PathLike
) -> pathlib.Path:
    """Writes the page, whole or not at all.

    Where it lies in the folder of its only run, its figures are kept beside it too, as
    PNGs in `figures/`.

    Args:
      folders: runs, or folders with runs below them; see `find_runs`.
      output: the HTML file; its folder is made if missing.

    Returns:
      The file.

    Raises:
      ValueError: naming a folder without a run, or a file that is damaged.

    Guarantees: the same folders give the same page; the page asks for nothing else;
    no file beside it is needed to read it.
    """
    output = pathlib.Path(output)
    runs = read_runs(folders)
    parts = _sections(runs, output)
    text = fill(*_heading(runs), parts)
    with whole(output) as file:
        file.write(text.encode())
    if len(runs) == 1 and output.parent.resolve().is_relative_to(
        runs[0].folder.resolve()
    ):
        _keep_drawings(parts, output.parent / "figures")
    return output


def _sections(runs: Sequence[Run], page: pathlib.Path) -> list[Section]:
    attacked = Attacked(runs)
    parts = [
        _first(runs, attacked),
        _runs(runs, page),
        _results(runs, attacked, page),
        _grids(runs, attacked, page),
        sections.robustness(runs, attacked, page),
        sections.efficiency(runs, page),
        sections.confidence(runs, page),
        sections.calibration(runs, page),
        sections.confusion(runs, page),
        mixing.mixing(runs, page),
        inside.labels(runs, page),
        inside.outputs(runs, page),
        inside.features(runs, page),
        inside.saliency(runs, page),
        galleries.examples(runs, page),
        _fallen(runs, attacked, page),
        distances.distances(runs, page),
        corrupted.corruptions(runs, page),
        galleries.fooling(runs, page),
        _signs(runs, page),
        sections.training(runs, page),
        sections.configs(runs, page),
    ]
    return [part for part in parts if part is not None]


def _first(runs: Sequence[Run], attacked: Attacked) -> Section | None:
    said = {run.name: caveats.caveats(run, attacked) for run in runs}
    flagged = {name: lines for name, lines in said.items() if lines}
    unchecked = caveats.unchecked(runs)
    if not flagged and not any(run.found("hidden_gradient") for run in runs):
        return None
    body = [element("p", caveats.summary(len(flagged), len(runs)))]
    for name, lines in flagged.items():
        items = element("ul", [element("li", _stressed(line)) for line in lines])
        if len(runs) == 1:
            body.append(items)
        else:
            number = element("small", " ", count(len(lines), "remark"))
            summary = element("summary", name, number)
            folded = len(flagged) >= _FOLDED_FROM
            body.append(element("details", summary, items, open=not folded))
    if unchecked:
        body.append(element("p", unchecked))
    kind = "callout" if flagged else "callout calm"
    return Section("first", "Read this first", element("div", body, class_=kind))


def _stressed(line: str) -> Html:
    """A sentence whose opening words stand out."""
    head, colon, rest = line.partition(": ")
    if not colon or len(head) > 30:
        return joined(line)
    return joined(element("b", head, ":"), " ", rest)


def _runs(runs: Sequence[Run], page: pathlib.Path) -> Section:
    differ = overview.differences(runs)
    body: list[Html] = [overview.facts(runs)]
    if differ is not None:
        caption = (
            "What differs between the runs, and nothing else: facts first, then fields "
            "of the config."
        )
        sources = [run.folder / "config.json" for run in runs]
        body.append(figure(differ, caption, sources, page))
    return Section("runs", "What was run", joined(body))


def _results(
    runs: Sequence[Run], attacked: Attacked, page: pathlib.Path
) -> Section | None:
    several = any(len(run.clean()) > 1 for run in runs)
    how = "Mean ± std over seeds" if several else "95 % intervals in brackets"
    best = "; the best of each column is bold." if len(runs) > 1 else "."
    body: list[Html | None] = [overview.tiles(runs, attacked)]
    accuracy = tables.results(
        runs, tables.accuracy_columns(runs, attacked), "accuracies by run"
    )
    records = [record.path for run in runs for record in run.records]
    found = [f.path for run in runs for f in run.found("clean")]
    if accuracy is not None:
        caption = (
            "Share of images that are decided correctly, clean and under the worst row "
            f"of each attack at each epsilon, in percent. {how}{best} Zero gradients: "
            "the share of images that a gradient attack cannot move."
        )
        body.append(figure(accuracy, caption, [*records, *found], page))
    rest = tables.results(
        runs, tables.calibration_columns(), "calibration and confidence by run"
    )
    if rest is not None:
        caption = (
            "How honest the confidence is: expected calibration error (15 bins), "
            "negative log-likelihood and Brier score, lower is better; and the median "
            f"confidence on everything that was asked. "
            f"{how if several else 'One seed'}{best}"
        )
        if any(run.found("left_out") for run in runs):
            caption += (
                " AUROC: in which share of all pairs the classifier is surer of the "
                "test image than of the image of a left-out class; 0.5 is by chance."
            )
        sources = [f.path for run in runs for f in run.findings]
        body.append(figure(rest, caption, sources, page))
    for run in runs:
        every = tables.attack_table(run, attacked)
        if every is not None:
            name = "Every attack" if len(runs) == 1 else f"Every attack on {run.name}"
            caption = (
                "Accuracy in percent along the classifier's own loss, along the margin "
                "of its decision, and under the worst of both per image. Seconds are "
                "the longest of the row, compilation included."
            )
            sources = [r.path for r in run.records if r.content.attack != "none"]
            content = figure(every, caption, sources, page)
            summary = element("summary", name)
            body.append(element("details", summary, content, open=len(runs) == 1))
    if not any(part is not None for part in body):
        return None
    return Section("results", "Results", joined(body))


def _grids(
    runs: Sequence[Run], attacked: Attacked, page: pathlib.Path
) -> Section | None:
    cells = [run for run in runs if run.cell]
    grids = [tables.grid(cells, clean_accuracy, "Clean accuracy, %")]
    strongest = attacked.strongest(cells)
    epsilons = attacked.epsilons(strongest) if strongest else []
    for epsilon in epsilons:

        def worst(run: Run, epsilon=epsilon):
            return estimate(attacked.worst(run, str(strongest), epsilon))

        grids.append(tables.grid(cells, worst, f"Under {strongest} at ε {epsilon}, %"))
    shown = [grid for grid in grids if grid is not None]
    if not shown:
        return None
    caption = (
        f"The sweep over {listed(tables.varied(cells))}: clean accuracy, and what the "
        "strongest attack leaves standing (its worst row). The darker, the higher."
    )
    sources = [s.path for run in cells for s in run.clean()]
    sources += [
        record.path
        for run in cells
        for epsilon in epsilons
        for record in attacked.worst(run, str(strongest), epsilon)
    ]
    content = element("div", shown, class_="grids")
    return Section("grid", "The sweep", figure(content, caption, sources, page))


def _fallen(
    runs: Sequence[Run], attacked: Attacked, page: pathlib.Path
) -> Section | None:
    shown = []
    for run in runs:
        fallen = tables.fallen_table(run, attacked)
        if fallen is not None:
            caption = (
                "Of the images by which examples fell: medians of the confidence in "
                "the wrong decision and of the distance from the clean image (L0 "
                "counts pixels), and the share that is still wrong once pixels are "
                "rounded to 8 bits, as a file would hold them."
            )
            sources = [r.path for r in run.records if r.content.fallen]
            shown.append((run.name, figure(fallen, caption, sources, page)))
    if not shown:
        return None
    if len(runs) == 1:
        body = shown[0][1]
    else:
        body = joined(
            element("details", element("summary", name), table) for name, table in shown
        )
    return Section("fallen", "How far the fallen moved", body)


def _signs(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    caption = (
        "Signs that a gradient is hidden, so that an attack fails for the wrong "
        "reason. A yes means that accuracies under attack may be too high."
    )
    body = []
    matrix = caveats.sign_matrix(runs)
    if matrix is not None:
        sources = [f.path for run in runs for f in run.found("hidden_gradient")]
        body.append(figure(matrix, caption, sources, page))
    for run in runs:
        signs = caveats.sign_list(run)
        if signs is None:
            continue
        sources = [f.path for f in run.found("hidden_gradient")]
        if len(runs) == 1:
            body.append(figure(signs, caption, sources, page))
        else:
            why = "Why: the figures behind each sign."
            content = figure(signs, why, sources, page)
            body.append(element("details", element("summary", run.name), content))
    return Section("signs", "Hidden gradients", joined(body)) if body else None


def _heading(runs: Sequence[Run]) -> tuple[str, str]:
    names = [run.name for run in runs]
    title = names[0] if len(names) == 1 else count(len(names), "run")
    objectives = {str(r.config.get("objective", {}).get("name")) for r in runs}
    data = {str(r.config.get("data", {}).get("name")) for r in runs}
    return title, f"{listed(sorted(objectives))} on {listed(sorted(data))}"


def fill(title: str, lead: str, parts: Sequence[Section]) -> str:
    """The text of a page.

    Args:
      title: its heading.
      lead: a line below.
      parts: its sections.
    """
    package = importlib.resources.files("robustlabels.report")
    template = string.Template((package / "page.html").read_text(encoding="utf-8"))
    contents = element(
        "ol",
        [
            element("li", element("a", part.title, href=f"#{part.identity}"))
            for part in parts
        ],
    )
    body = [
        element(
            "section",
            element("h2", part.title, id=f"{part.identity}-title"),
            part.body,
            id=part.identity,
            aria_labelledby=f"{part.identity}-title",
        )
        for part in parts
    ]
    return template.substitute(
        title=joined(title),
        lead=joined(lead),
        colours=theme.variables(),
        css=(package / "page.css").read_text(encoding="utf-8"),
        contents=contents,
        body=joined(body),
    )


def _keep_drawings(parts: Sequence[Section], folder: pathlib.Path) -> None:
    folder.mkdir(exist_ok=True)
    for part in parts:
        for name, write in part.drawings:
            write(folder / f"{name}.png")
