"""What was run: facts, and how the runs differ."""

from collections.abc import Sequence
from typing import Any

from robustlabels.report.formats import NOTHING, count, literal
from robustlabels.report.html import Html, breakable, element
from robustlabels.report.robustness import Attacked, clean_accuracy, estimate
from robustlabels.report.runs import Run, flat
from robustlabels.report.tables import table

__all__ = ["differences", "facts", "status", "tiles"]


# Longer texts are broken into lines.
_SHORT = 34


def status(run: Run) -> str:
    """How far a run has come."""
    if run.diverged is not None:
        return f"diverged at step {run.diverged.get('step', NOTHING)}"
    if not run.metrics:
        return "evaluated" if run.records else "not trained yet"
    epochs = max(len(lines) for lines in run.metrics.values())
    planned = run.config.get("training", {}).get("num_epochs", NOTHING)
    done = "evaluated" if run.records or run.findings else "not evaluated yet"
    return f"{epochs} of {planned} epochs, {done}"


def _facts(run: Run) -> dict[str, str]:
    """What a reader asks first, by its name."""
    config, provenance = run.config, run.provenance
    parts = {
        name: literal(config.get(name, {}).get("name"))
        for name in ("data", "encoder", "head", "objective")
    }
    seeds = config.get("num_seeds") or 1
    first = config.get("seed", 0)
    devices = provenance.get("num_devices", 1)
    device = literal(provenance.get("device"))
    versions = provenance.get("versions", {})
    return {
        **parts,
        "seeds": f"{first}" if seeds == 1 else f"{first} to {first + seeds - 1}",
        "state": status(run),
        "device": device if devices == 1 else f"{device} ({devices})",
        "versions": ", ".join(f"{k} {v}" for k, v in versions.items()) or NOTHING,
        "commit": literal(provenance.get("commit")),
        "date": literal(provenance.get("date")).replace("T", " ").split("+")[0],
    }


def facts(runs: Sequence[Run]) -> Html:
    """What is the same in all runs."""
    of = [_facts(run) for run in runs]
    same = [name for name in of[0] if len({facts[name] for facts in of}) == 1]
    return element(
        "dl",
        [
            element(
                "div", element("dt", name), element("dd", _shown(name, of[0][name]))
            )
            for name in same
        ],
        class_="facts",
    )


def _shown(name: str, value: str) -> Any:
    if name == "commit" and len(value) > 12:
        short = value[:12] + ("-dirty" if value.endswith("-dirty") else "")
        return element("code", short, title=value)
    return value


def differences(runs: Sequence[Run]) -> Html | None:
    """The facts and fields of the config that differ; None for one run."""
    if len(runs) < 2:
        return None
    of = [_facts(run) for run in runs]
    configs = [flat(run.config) for run in runs]
    told = {"data.name", "encoder.name", "head.name", "objective.name", "seed"}
    fields = dict.fromkeys(field for config in configs for field in config)
    apart = {
        field: [literal(config.get(field)) for config in configs]
        for field in fields
        if field not in told | {"num_seeds"}
    }
    columns = {name: [facts[name] for facts in of] for name in of[0]} | apart
    shown = {name: values for name, values in columns.items() if len(set(values)) > 1}
    head = [element("th", "run", scope="col")]
    head += [element("th", breakable(name), scope="col") for name in shown]
    rows = [
        [
            element("th", breakable(run.name), scope="row"),
            *(_cell(name, values[i]) for name, values in shown.items()),
        ]
        for i, run in enumerate(runs)
    ]
    return table([head], rows, "what differs between the runs")


def _cell(name: str, value: str) -> Html:
    short = "short" if len(value) <= _SHORT else None
    return element("td", _shown(name, value), class_=short)


def tiles(runs: Sequence[Run], attacked: Attacked) -> Html | None:
    """The figures to see first: of the run, or of the best of several."""
    quantities = [("clean accuracy", clean_accuracy)]
    strongest = attacked.strongest(runs)
    if strongest is not None:
        for epsilon in attacked.epsilons(strongest):

            def left(run: Run, epsilon=epsilon):
                return estimate(attacked.worst(run, strongest, epsilon))

            quantities.append((f"under {strongest} at ε {epsilon}", left))
    shown = []
    for name, of in quantities:
        values = [(value, run) for run in runs if (value := of(run)) is not None]
        if not values:
            continue
        value, run = max(values, key=lambda found: found[0].mean)
        low, high = (100 * end for end in value.band)
        spread = f"{low:.1f} to {high:.1f} %" if high > low else ""
        seeds = len(value.values)
        kind = f"mean ± std of {count(seeds, 'seed')}" if seeds > 1 else "95 % interval"
        note = f"{kind}: {spread}" if spread else None
        shown.append(
            element(
                "li",
                element("span", name if len(runs) == 1 else f"best {name}"),
                element("strong", f"{100 * value.mean:.1f}", element("small", " %")),
                element("span", note) if note else None,
                element("span", run.name, class_="who") if len(runs) > 1 else None,
            )
        )
    return element("ul", shown[:5], class_="tiles") if shown else None
