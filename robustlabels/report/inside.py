"""What a net is asked for and gives: labels, outputs, features, and where it looks."""

import base64
import functools
import io
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from robustlabels.labels.sounds import RATE
from robustlabels.labels.spectrogram import BANDS, griffin_lim
from robustlabels.report import figures, images
from robustlabels.report.formats import count, number, percent
from robustlabels.report.galleries import folded
from robustlabels.report.html import Html, element, joined
from robustlabels.report.runs import Matrix, Run
from robustlabels.report.sections import Section, drawn_section, figure, panels, paths

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["features", "labels", "outputs", "saliency"]

_MOST_CLASSES = 20


def labels(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """The label of each class, as a picture; runs with the same labels share them."""
    groups: dict[bytes, list[Run]] = {}
    for run in runs:
        if codebook := run.matrices.get("codebook"):
            groups.setdefault(codebook.values.tobytes(), []).append(run)
    blocks, drawings = [], []
    for group in groups.values():
        codebook = group[0].matrices["codebook"]
        shown = codebook.values[:_MOST_CLASSES]
        painted = [_painted(label, codebook) for label in shown]
        cards = [
            _card([(picture, f"label of class {name}", None)], element("b", name))
            for picture, name in zip(painted, codebook.class_names, strict=False)
        ]
        there = len(codebook.values)
        some = (
            f"The first {len(shown)} of {there} classes. " if there > len(shown) else ""
        )
        low, high = float(codebook.values.min()), float(codebook.values.max())
        caption = (
            f"What the net is to give for each class: {codebook.source.get('name')}, "
            f"{_size(codebook)}. {some}Dark is {number(low)}, bright {number(high)}."
            + (" Low pitches are at the bottom." if _sounds(codebook) else "")
        )
        sources = [run.matrices["codebook"].path for run in group]
        shape = element("ul", cards, class_="cards")
        name = group[0].name if len(group) == 1 else count(len(group), "run")
        blocks.append((name, figure(shape, caption, sources, page)))
        drawings.append(("labels", functools.partial(images.sheet, [painted])))
    return folded("labels", "Labels", blocks, drawings, len(groups))


def outputs(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """What the net gives for some images, beside the labels that it should give."""
    blocks, drawings = [], []
    for run in runs:
        codebook, found = run.matrices.get("codebook"), run.found("outputs")
        if codebook is None or not found:
            continue
        arrays = images.load(found[0])
        rows: list[list[np.ndarray]] = [[], []]
        cards = []
        for i, output in enumerate(arrays["outputs"]):
            label, decision = int(arrays["labels"][i]), int(arrays["decisions"][i])
            true, decided = codebook.class_names[label], codebook.class_names[decision]
            asked, given = codebook.values[label], output
            pictures = [
                (arrays["images"][i], f"image of class {true}", "image"),
                (_painted(asked, codebook), f"label of {true}", "label"),
                (_painted(given, codebook), "output of the net", "output"),
            ]
            rows[0].append(pictures[1][0])
            rows[1].append(pictures[2][0])
            loss = f"loss {number(float(arrays['losses'][i]))}"
            said = [element("b", true), " → ", element("b", decided), ", ", loss]
            if _sounds(codebook):
                said += [_player(asked, f"label {true}"), _player(given, "output")]
            cards.append(_card(pictures, *said))
        values, parameters = found[0].content.values, found[0].content.parameters
        caption = (
            "The first test images, the label of their class, what the net makes of "
            "them, the class whose label is nearest, and the loss between output and "
            f"label. {percent(values['accepted'])} % of "
            f"{count(found[0].content.n, 'output')} are accepted: their loss is below "
            f"{number(parameters['threshold'])}, whatever the other labels are."
            + (
                " Label and output can be listened to: sound of their magnitudes, with "
                "phases that were guessed."
                if _sounds(codebook)
                else ""
            )
        )
        sources = [*paths(found[:1]), codebook.path]
        shape = element("ul", cards, class_="cards")
        blocks.append((run.name, figure(shape, caption, sources, page)))
        drawings.append(("outputs", functools.partial(images.sheet, rows)))
    return folded("outputs", "Outputs", blocks, drawings, len(runs))


def saliency(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Grad-CAM of the decisions, at three depths."""
    blocks, drawings = [], []
    for run in runs:
        found = run.found("saliency")
        if not found:
            continue
        arrays = images.load(found[0])
        layers = found[0].content.values["layers"]
        cards, rows = [], [list(arrays["images"])]
        heated = [[_heat(each) for each in of_layer] for of_layer in arrays["maps"]]
        for i, image in enumerate(arrays["images"]):
            true = run.class_name(int(arrays["labels"][i]))
            decision = run.class_name(int(arrays["decisions"][i]))
            pictures = [(image, f"image of class {true}", "image")]
            for layer, of_layer in zip(layers, heated, strict=True):
                alt = f"where {layer} speaks for {decision}"
                pictures.append((of_layer[i], alt, layer))
            said = [element("b", true), " → ", element("b", decision)]
            cards.append(_card(pictures, *said, wide=True))
        rows += heated
        caption = (
            f"Where decisions come from, by Grad-CAM at {count(len(layers), 'depth')}: "
            "bright is what speaks for the class that was decided, up to the strongest "
            "place of each map. Empty maps: nothing in that layer speaks for it."
        )
        shape = element("ul", cards, class_="cards wide")
        blocks.append((run.name, figure(shape, caption, paths(found[:1]), page)))
        drawings.append(("saliency", functools.partial(images.sheet, rows)))
    return folded("saliency", "Where the net looks", blocks, drawings, len(runs))


def features(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Features of validation images in two dimensions, along training."""
    drawn: list[tuple[str, str, Figure]] = []
    sources: list[pathlib.Path] = []
    for run in runs:
        for found in run.found("features")[:1]:
            arrays = images.load(found)
            names = [run.class_name(c) for c in np.unique(arrays["labels"]).tolist()]
            for epoch, points in zip(arrays["epochs"], arrays["points"], strict=True):
                when = f"epoch {epoch}" if epoch else "untrained"
                title = when if len(runs) == 1 else f"{run.name}: {when}"
                drawing = figures.features(points, arrays["labels"])
                drawn.append((title, f"classes {', '.join(names)}", drawing))
            sources += paths([found])
    if not drawn:
        return None
    caption = (
        "Features of validation images in two dimensions, by t-SNE, a colour and a "
        "number a class: each moment of training is projected by itself, so places do "
        "not compare, neighbours do."
    )
    body = panels("features", drawn, titles=True)
    content = figure(body, caption, sources, page)
    return drawn_section("features", "Features along training", content, drawn)


def _card(
    pictures: Sequence[tuple[np.ndarray, str, str | None]],
    *said: object,
    wide: bool = False,
) -> Html:
    shown = [images.picture(image, alt, caption) for image, alt, caption in pictures]
    kind = "card wide" if wide else "card" if len(pictures) > 1 else "card single"
    body = element("div", *shown, class_="pictures")
    return element("li", body, element("p", *said), class_=kind)


def _painted(
    label: Float[np.ndarray, "*cells"], codebook: Matrix
) -> Float[np.ndarray, "rows columns 3"]:
    """A label in colours that span the codebook."""
    from matplotlib import colormaps

    low, high = codebook.values.min(), codebook.values.max()
    matrix = label.reshape(label.shape[0] if label.ndim > 1 else 1, -1)
    if _sounds(codebook):
        matrix = matrix[::-1]
    share = np.clip((matrix - low) / max(high - low, 1e-30), 0, 1)
    return colormaps["viridis"](share)[..., :3]


def _heat(
    strength: Float[np.ndarray, "rows columns"],
) -> Float[np.ndarray, "rows columns 3"]:
    from matplotlib import colormaps

    return colormaps["inferno"](strength)[..., :3]


def _sounds(codebook: Matrix) -> bool:
    """Whether labels are spectrograms that can be listened to."""
    bands = codebook.values.shape[1]
    return codebook.source.get("name") == "speech" and bands == BANDS


def _size(codebook: Matrix) -> str:
    shape = codebook.values.shape[1:]
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape)) + " numbers"


def _player(label: Float[np.ndarray, "bands columns"], name: str) -> Html:
    from scipy.io import wavfile

    written = io.BytesIO()
    samples = np.round(griffin_lim(label) * (2**15 - 1)).astype(np.int16)
    wavfile.write(written, RATE, samples)
    address = "data:audio/wav;base64," + base64.b64encode(written.getvalue()).decode()
    player = element("audio", src=address, controls=True, preload="none")
    return joined(element("span", name, player, class_="sound"))
