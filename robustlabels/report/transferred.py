"""The page of a transfer: which images, made for one model, fool the others."""

import json
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from robustlabels._files import whole
from robustlabels.evaluation import interval
from robustlabels.report.formats import count, percent
from robustlabels.report.html import Html, breakable, element
from robustlabels.report.page import fill
from robustlabels.report.sections import Section, figure
from robustlabels.report.tables import table

__all__ = ["write_transfer"]


def write_transfer(folder: str | os.PathLike) -> pathlib.Path:
    """Writes report.html into the folder of a transfer, from its transfer.json.

    Args:
      folder: what `robustlabels.transfer.run` left.

    Returns:
      The file.
    """
    folder = pathlib.Path(folder)
    source, page = folder / "transfer.json", folder / "report.html"
    said = json.loads(source.read_text())
    grids = [
        element("div", element("h4", _title(size)), _grid(said, size, rows))
        for size, rows in said["errors"].items()
    ]
    caption = (
        f"Errors in percent of {count(said['n'], 'image')}, with 95 % intervals. Each "
        "row holds images made for one model, each column is a model that they are fed "
        "to; the last row is without a change. RMS is the root mean square of the "
        "change, in pixels of [0, 1]."
    )
    body = figure(element("div", grids, class_="grids"), caption, [source], page)
    sections = [Section("transfer", "Made for one, fed to all", body)]
    text = fill("Transfer", _lead(said), sections)
    with whole(page) as file:
        file.write(text.encode())
    return page


def _lead(said: dict[str, Any]) -> str:
    attack = said["attack"]["name"]
    along = "" if said["loss"] == "none" else f" along the {said['loss']} loss"
    reach = "" if said["epsilon"] is None else f", ε {said['epsilon']:g}"
    return f"{attack}{along}{reach}, between {count(len(said['names']), 'model')}"


def _title(size: str) -> str:
    return "As found" if size == "as found" else f"Amplified to an RMS of {size}"


def _grid(said: dict[str, Any], size: str, rows: Sequence[Sequence[float]]) -> Html:
    names = said["names"]
    corner = [
        element("span", "made for ↓", class_="fact"),
        element("span", "fed to →", class_="fact"),
    ]
    head = [element("th", corner, scope="col")]
    head += [element("th", breakable(n), scope="col", class_="number") for n in names]
    if size == "as found":
        head.append(element("th", "RMS", scope="col", class_="number"))
    body = []
    for name, row, rms in zip(names, rows, said["rms"], strict=True):
        cells = [element("th", breakable(name), scope="row")]
        cells += [_error(value, said["n"]) for value in row]
        if size == "as found":
            cells.append(element("td", f"{rms:.3f}", class_="number"))
        body.append(cells)
    if size in said["noise"]:
        noise = [_error(value, said["n"]) for value in said["noise"][size]]
        body.append([element("th", "Gaussian noise", scope="row"), *noise])
    clean = [_error(value, said["n"]) for value in said["clean"]]
    last = [element("th", "no change", scope="row"), *clean]
    if size == "as found":
        last.append(element("td", "0", class_="number"))
    return table([head], [*body, last], f"errors {size}")


def _error(value: float, n: int) -> Html:
    _, low, high = interval(np.arange(n) < round(value * n))
    reach = element("small", f" [{percent(low)}, {percent(high)}]")
    return element(
        "td", percent(value), reach, class_="number heat", style=f"--share:{value:.3f}"
    )
