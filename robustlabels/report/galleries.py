"""Examples to look at: adversarial and fooling images."""

import functools
import pathlib
from collections.abc import Callable, Sequence

from robustlabels.report import images
from robustlabels.report.formats import count, percent
from robustlabels.report.html import Html, element, joined
from robustlabels.report.robustness import loss_name
from robustlabels.report.runs import Run
from robustlabels.report.sections import Section, figure, paths

__all__ = ["examples", "folded", "fooling"]


def examples(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Adversarial images; the strongest attack's first, the others folded."""
    shown, drawings = [], []
    for run in runs:
        blocks = []
        for (attack, loss), found in run.by_attack("adversarial").items():
            if found[0].content.images is None:
                continue
            arrays = images.load(found[0])
            if not len(arrays["clean"]):  # nothing was right without an attack
                continue
            cards, factor = images.adversarial(run, arrays)
            name = f"{attack} along the {loss_name(loss)}"
            scale = (
                "grey is no change."
                if arrays["clean"].shape[-1] > 1
                else "orange is brighter, blue is darker, empty is no change."
            )
            caption = (
                f"The first images that are decided correctly without an attack, and "
                f"what {name} makes of them at the smallest epsilon at which they "
                f"fall: true class, decision and its confidence. The difference is "
                f"drawn {factor} times as strong: {scale}"
            )
            if not blocks:
                pairs = list(zip(arrays["clean"], arrays["perturbed"], strict=True))
                changes = [images.difference(x, z, factor) for x, z in pairs]
                rows = [list(arrays["clean"]), list(arrays["perturbed"]), changes]
                drawings.append(("examples", functools.partial(images.sheet, rows)))
            blocks.append((name, figure(cards, caption, paths(found[:1]), page)))
        if blocks:
            parts = [element("h4", blocks[0][0]), blocks[0][1]]
            parts += [
                element("details", element("summary", name), block)
                for name, block in blocks[1:]
            ]
            shown.append((run.name, joined(parts)))
    return folded("examples", "Adversarial examples", shown, drawings, len(runs))


def fooling(runs: Sequence[Run], page: pathlib.Path) -> Section | None:
    """Images that are nothing, taken for something."""
    shown, drawings = [], []
    for run in runs:
        found = run.found("fooling")
        if found and found[0].content.images is not None:
            values, parameters = found[0].content.values, found[0].content.parameters
            asked = percent(parameters.get("confidence"), 0)
            rate = percent(values.get("success"))
            caption = (
                "Noise that was changed until the classifier takes it for a class with "
                f"{asked} % confidence: the class asked for, and how sure it became. "
                f"{rate} % of {count(found[0].content.n, 'attempt')} got there; the "
                "fewer, the better."
            )
            arrays = images.load(found[0])
            cards = images.fooling(run, arrays)
            rows = [list(arrays["images"])]
            drawings.append(("fooling", functools.partial(images.sheet, rows)))
            shown.append((run.name, figure(cards, caption, paths(found[:1]), page)))
    return folded("fooling", "Fooling images", shown, drawings, len(runs))


def folded(
    identity: str,
    title: str,
    shown: Sequence[tuple[str, Html]],
    drawings: Sequence[tuple[str, Callable[[pathlib.Path], None]]],
    runs: int,
) -> Section | None:
    """A block a run, by its name; more than a few are folded."""
    if not shown:
        return None
    if runs == 1:
        return Section(identity, title, shown[0][1], tuple(drawings))
    body = [
        element(
            "details", element("summary", name), block, open=i < 2 or len(shown) < 4
        )
        for i, (name, block) in enumerate(shown)
    ]
    return Section(identity, title, joined(body))
