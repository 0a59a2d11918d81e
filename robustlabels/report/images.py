"""Example images: PNGs inside of the page, and what stands under each."""

import base64
import io
import math
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from robustlabels.evaluation.records import Finding, read_arrays
from robustlabels.report import theme
from robustlabels.report.formats import percent
from robustlabels.report.html import Html, element
from robustlabels.report.runs import Run, Sourced

__all__ = [
    "adversarial",
    "amplification",
    "difference",
    "fooling",
    "load",
    "picture",
    "png",
    "sheet",
]

_ARRAYS = {
    "adversarial": {
        *("clean", "perturbed", "labels", "decisions", "confidences", "epsilons"),
        "fell",
    },
    "fooling": {"images", "targets", "decisions", "confidences", "steps", "success"},
    "outputs": {"images", "labels", "decisions", "losses", "outputs"},
    "saliency": {"images", "labels", "decisions", "maps"},
    "features": {"epochs", "points", "labels"},
}


def load(found: Sourced[Finding]) -> dict[str, np.ndarray]:
    """The examples of a finding.

    Args:
      found: of a kind that has some.

    Raises:
      ValueError: naming the file, if it is missing or damaged, or lacks an array.
    """
    arrays = read_arrays(found.path.parents[1], found.content)
    missing = sorted(_ARRAYS[found.content.kind] - arrays.keys())
    if missing:
        raise ValueError(
            f"{found.path} comes without the arrays {missing}: delete it and evaluate "
            "again."
        )
    return arrays


def amplification(clean: np.ndarray, perturbed: np.ndarray) -> int:
    """The largest of 1, 2, 5, 10, 20, … by which no difference leaves [-1, 1].

    >>> amplification(np.zeros(2), np.array([0.1, 0.05]))
    10
    """
    largest = float(np.max(np.abs(perturbed - clean), initial=0.0))
    room = 1000 if largest < 1e-3 else max(1.0, 1.001 / largest)
    decade = 10 ** math.floor(math.log10(room))
    return int(max(step * decade for step in (1, 2, 5) if step * decade <= room))


def difference(
    clean: Float[np.ndarray, "height width channels"],
    perturbed: Float[np.ndarray, "height width channels"],
    factor: float | int,
) -> Float[np.ndarray, "height width colours"]:
    """A difference as an image on a diverging scale.

    Grey images: orange where a pixel became brighter, blue where it became darker, and
    transparent where nothing changed. In colour: every channel about middle grey.

    Args:
      clean: image in [0, 1].
      perturbed: image in [0, 1].
      factor: the difference that is drawn in full is one over it.
    """
    change = np.clip(factor * (perturbed - clean), -1, 1)
    if change.shape[-1] != 1:
        return 0.5 + 0.5 * change
    up, down = (_rgb(name) for name in ("series-2", "series-1"))
    painted = np.where(change > 0, up, down)
    return np.concatenate([painted, np.abs(change)], axis=-1)


def _rgb(name: str) -> np.ndarray:
    text = theme.colour(name)
    return np.array([int(text[i : i + 2], 16) for i in (1, 3, 5)]) / 255


def png(image: Float[np.ndarray, "height width channels"]) -> str:
    """An image as a data URI.

    Args:
      image: in [0, 1]; of 1 channel grey, of 3 RGB, of 4 RGBA.

    >>> png(np.zeros((2, 2, 1)))[:22]
    'data:image/png;base64,'
    """
    from PIL import Image

    written = io.BytesIO()
    Image.fromarray(_levels(image)).save(written, "PNG")
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _levels(image: np.ndarray) -> np.ndarray:
    """Bytes, the channel of a grey image dropped; of other depths the first channel."""
    levels = np.round(255 * np.clip(np.nan_to_num(image), 0, 1)).astype(np.uint8)
    return levels if levels.shape[-1] in (3, 4) else levels[..., 0]


def sheet(rows: Sequence[Sequence[np.ndarray]], path: pathlib.Path) -> None:
    """Writes images side by side, row by row, upscaled without smoothing.

    Args:
      rows: of images of one size, as `png` takes them.
      path: where to.
    """
    from PIL import Image

    height, width = rows[0][0].shape[:2]
    scale, gap = max(1, 96 // max(height, width)), 6
    down, across = height * scale + gap, width * scale + gap
    paper = Image.new("RGB", (max(map(len, rows)) * across, len(rows) * down), "white")
    for row, images in enumerate(rows):
        for column, image in enumerate(images):
            picture = Image.fromarray(_levels(image)).convert("RGBA")
            large = picture.resize(
                (width * scale, height * scale), Image.Resampling.NEAREST
            )
            paper.paste(large, (column * across, row * down), large)
    paper.save(path, "PNG")


def picture(image: np.ndarray, alt: str, caption: str | None = None) -> Html:
    """An image of a card, and what stands below it.

    Args:
      image: as `png` takes it.
      alt: what it shows, for who cannot see it.
      caption: a word or two.
    """
    shown = element(
        "img",
        src=png(image),
        alt=alt,
        width=image.shape[1],
        height=image.shape[0],
    )
    name = element("span", caption, class_="of") if caption else None
    return element("span", shown, name, class_="picture")


def adversarial(run: Run, arrays: dict[str, Any]) -> tuple[Html, int]:
    """Cards of clean image, perturbed image and difference, and the amplification.

    Args:
      run: names the classes.
      arrays: from `load`.
    """
    factor = amplification(arrays["clean"], arrays["perturbed"])
    amplified = f"Δ \N{MULTIPLICATION SIGN} {factor}"
    cards = []
    for i, (clean, perturbed) in enumerate(
        zip(arrays["clean"], arrays["perturbed"], strict=True)
    ):
        true = run.class_name(int(arrays["labels"][i]))
        decision = run.class_name(int(arrays["decisions"][i]))
        sure = percent(float(arrays["confidences"][i]), 0)
        stands = not arrays["fell"][i]
        epsilon = str(arrays["epsilons"][i])
        pictures = (
            picture(clean, f"clean image of class {true}", "clean"),
            picture(perturbed, f"perturbed image, decided as {decision}", "attacked"),
            picture(difference(clean, perturbed, factor), "difference", amplified),
        )
        said = [element("b", true), " → ", element("b", decision), f", {sure} % sure"]
        where = f"ε {epsilon}" + (" · stands" if stands else "")
        cards.append(
            element(
                "li",
                element("div", *pictures, class_="pictures"),
                element("p", *said, element("br"), element("small", where)),
                class_="card stands" if stands else "card",
            )
        )
    return element("ul", cards, class_="cards"), factor


def fooling(run: Run, arrays: dict[str, Any]) -> Html:
    """Cards of images that were made to be taken for a class.

    Args:
      run: names the classes.
      arrays: from `load`.
    """
    cards = []
    for i, image in enumerate(arrays["images"]):
        target = run.class_name(int(arrays["targets"][i]))
        decision = run.class_name(int(arrays["decisions"][i]))
        sure = percent(float(arrays["confidences"][i]), 1)
        reached = bool(arrays["success"][i])
        steps = int(arrays["steps"][i])
        outcome = f"{steps} steps" if reached else f"not reached, decided {decision}"
        cards.append(
            element(
                "li",
                element(
                    "div",
                    picture(image, f"noise climbed towards class {target}"),
                    class_="pictures",
                ),
                element(
                    "p",
                    element("b", target),
                    f", {sure} % sure",
                    element("br"),
                    element("small", outcome),
                ),
                class_="card single" if reached else "card single stands",
            )
        )
    return element("ul", cards, class_="cards")
