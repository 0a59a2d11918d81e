"""What to know before quoting a number: collected from everything that hints at it."""

from collections.abc import Mapping, Sequence
from typing import Any

from robustlabels.report.formats import NOTHING, Number, count, listed, number, percent
from robustlabels.report.html import Html, breakable, element, joined
from robustlabels.report.mixing import collapse
from robustlabels.report.robustness import Attacked, estimate, loss_name
from robustlabels.report.runs import Run
from robustlabels.report.tables import table

__all__ = [
    "LARGE_GAP",
    "caveats",
    "sign_list",
    "sign_matrix",
    "signs",
    "summary",
    "unchecked",
]

LARGE_GAP = 0.1


def caveats(run: Run, attacked: Attacked) -> list[str]:
    """Plain sentences about one run; none if nothing hints at anything.

    Args:
      run: which one.
      attacked: the cells of all runs.
    """
    said = []
    if run.diverged is not None:
        message = str(run.diverged.get("message", "training diverged"))
        said.append(f"Diverged: {message}")
    elif not run.records and not run.findings:
        said.append("Not evaluated yet.")
    said += [*_swapped(run), *collapse(run)]
    for name, sign in signs(run).items():
        if sign["yes"]:
            seeds = sign["yes"], sign["of"]
            where = f" ({seeds[0]} of {seeds[1]} seeds)" if seeds[1] > 1 else ""
            said.append(f"Hidden gradients: {name}{where}. {sign['sentence']}")
    for found in run.found("hidden_gradient"):
        said += map(str, found.content.values.get("warnings", []))
    return list(dict.fromkeys([*said, *_gap(run, attacked), *_zeros(run, attacked)]))


def _swapped(run: Run) -> list[str]:
    data = run.config.get("data", {})
    rate = data.get("swap_rate")
    if not rate or data.get("noisy_validation"):
        return []
    return [
        f"Clean validation: {percent(rate)} % of the training labels are swapped, and "
        "the best epoch was chosen on labels that are not. Who has only noisy labels "
        "cannot choose so."
    ]


def signs(run: Run) -> dict[str, dict[str, Any]]:
    """Signs of hidden gradients by name: how many seeds say yes, of how many."""
    by_name: dict[str, dict[str, Any]] = {}
    for found in run.found("hidden_gradient"):
        for sign in found.content.values.get("signs", []):
            name = sign["name"].replace("_", " ")
            known = by_name.setdefault(name, {"yes": 0, "of": 0})
            known["of"] += 1
            known["yes"] += bool(sign["yes"])
            # The sentence and figures of a seed that says yes, if one does.
            if "sentence" not in known or (sign["yes"] and known["yes"] == 1):
                known |= {"sentence": sign["sentence"], "figures": sign["figures"]}
    return by_name


def _gap(run: Run, attacked: Attacked) -> list[str]:
    """The largest gap between the training loss and what attacks the decision."""
    gaps = []
    for attack in attacked.attacks:
        for epsilon in attacked.epsilons(attack, run):
            rows = {
                loss: row
                for loss in attacked.followed()
                if (row := estimate(attacked.at(run, attack, loss, epsilon)))
            }
            own = rows.pop("own", None)
            if own is not None and rows:
                loss = min(rows, key=lambda name: rows[name].mean)
                gap = abs(own.mean - rows[loss].mean)
                gaps.append((gap, attack, epsilon, own, loss, rows[loss]))
    if not gaps:
        return []
    gap, attack, epsilon, own, loss, other = max(gaps, key=lambda found: found[0])
    if gap < LARGE_GAP:
        return []
    stronger = loss_name(loss) if own.mean > other.mean else "training loss"
    return [
        f"The losses disagree: under {attack} at ε {epsilon}, {percent(own.mean)} % "
        f"stand against the training loss and {percent(other.mean)} % against the "
        f"{loss_name(loss)}. The {stronger} is the stronger guide here; quote the "
        "worst row."
    ]


def _zeros(run: Run, attacked: Attacked) -> list[str]:
    said = []
    for loss in attacked.followed():
        share = attacked.zero_gradients(run, loss)
        for found in run.found("hidden_gradient"):
            zeros = found.content.values.get("zero_gradients", {}).get(loss)
            if share is None and zeros:
                said.append(_zero_sentence(loss, zeros))
        if share is not None and max(share.values) > 0:
            said.append(_zero_sentence(loss, max(share.values)))
    return list(dict.fromkeys(said))


def _zero_sentence(loss: str, share: Number) -> str:
    return (
        f"Zero gradients: {percent(share)} % of the input gradients of the "
        f"{loss_name(loss)} are exactly zero. An attack along it cannot move these "
        "images, which does not make them robust."
    )


def sign_matrix(runs: Sequence[Run]) -> Html | None:
    """Runs by signs: yes or no; None for fewer than two runs."""
    by_run = {run.name: signs(run) for run in runs}
    checked = {name: found for name, found in by_run.items() if found}
    names = list(dict.fromkeys(sign for found in checked.values() for sign in found))
    if len(runs) < 2 or not names:
        return None
    head = [element("th", "run", scope="col")]
    head += [element("th", name, scope="col") for name in names]
    rows = [
        [
            element("th", breakable(run), scope="row"),
            *(_verdict(found.get(n)) for n in names),
        ]
        for run, found in checked.items()
    ]
    return table([head], rows, "signs of hidden gradients by run")


def sign_list(run: Run) -> Html | None:
    """The signs of one run with their figures and sentences."""
    found = signs(run)
    if not found:
        return None
    rows = [
        [
            element("th", name, scope="row"),
            _verdict(sign),
            element("td", _figures(sign["figures"]), class_="figures"),
            element("td", sign["sentence"], class_="prose"),
        ]
        for name, sign in found.items()
    ]
    titles = ["sign", "seen", "figures", "what it says"]
    head = [element("th", title, scope="col") for title in titles]
    return table([head], rows, f"signs of hidden gradients of {run.name}")


def _verdict(sign: Mapping[str, Any] | None) -> Html:
    if sign is None:
        return element("td", NOTHING, class_="none")
    word = "yes" if sign["yes"] else "no"
    if sign["of"] > 1 and sign["yes"]:
        word = f"yes, {sign['yes']} of {sign['of']} seeds"
    return element("td", word, class_="yes" if sign["yes"] else "no")


def _figures(figures: Mapping[str, Any]) -> Html:
    return joined(
        [
            element("span", f"{name} ", element("b", _figure(value)), class_="fact")
            for name, value in figures.items()
        ]
    )


def _figure(value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number(value) if is_number else str(value)


def summary(flagged: int, runs: int) -> str:
    """What stands above the list.

    >>> summary(0, 1), summary(2, 3)
    ('Nothing hints at a misleading number.', '2 of 3 runs need a second look.')
    """
    if not flagged:
        return "Nothing hints at a misleading number."
    if runs == 1:
        return "Before a number of this run is quoted:"
    return f"{flagged} of {count(runs, 'run')} need a second look."


def unchecked(runs: Sequence[Run]) -> str | None:
    """Which evaluated runs were not checked for hidden gradients."""
    names = [r.name for r in runs if r.records and not r.found("hidden_gradient")]
    if not names:
        return None
    if len(names) > 5:
        names = [*names[:4], f"{len(names) - 4} more"]
    return f"Not checked for hidden gradients: {listed(names)}."
