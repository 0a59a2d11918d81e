"""Run folders with plausible records, as training and evaluation leave them."""

import dataclasses
import json

import numpy as np

from robustlabels.evaluation.records import Finding, Record, interval

DIGITS = [str(digit) for digit in range(10)]
ODD = ["<html>", 'a "quoted" name', "it's & more", "</script>", "$x$ {", *"ABCDE"]
PROVENANCE = {
    "versions": {"robustlabels": "0.1.0", "jax": "0.10.2"},
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "device": "cpu",
    "num_devices": 1,
    "date": "2026-05-04T12:00:00+00:00",
}
EPSILONS = ["0.05", "0.1", "0.25"]
SIZE = 449


def make_config(objective="sng", *, data="digits", seed=0, num_seeds=1, peak=1e-3):
    return {
        "seed": seed,
        "num_seeds": num_seeds,
        "data": {"name": data, "seed": 0, "test_fraction": 0.25},
        "encoder": {"name": "MLP", "widths": [256, 256, 64]},
        "head": {"name": "Prototypes", "per_class": 1},
        "objective": {"name": objective, "tau_end": 30.0},
        "optimizer": {"name": "adam"},
        "learning_rate": {"name": "constant", "peak": peak},
        "training": {"num_epochs": 30, "batch_size": 100},
        "evaluation": {"epsilons": ", ".join(EPSILONS), "attacks": {}},
    }


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2))


def make_run(
    folder,
    *,
    state="evaluated",
    seeds=(0,),
    shape=(8, 8, 1),
    names=DIGITS,
    strength=0.0,
    hides=False,
    left_out=False,
    **config,
):
    """A run: "new", "training", "diverged", "old" (no findings) or "evaluated".

    What it holds follows from its seeds and strength.
    """
    settings = make_config(seed=seeds[0], num_seeds=len(seeds), **config)
    write(folder / "config.json", {"config": settings, "provenance": PROVENANCE})
    if state == "new":
        return folder
    epochs = 12 if state == "training" else 30
    lines = [line for seed in seeds for line in metrics(seed, epochs)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    if state == "diverged":
        message = "the loss of seed 0 is nan at step 840: lower the learning rate."
        write(folder / "diverged.json", {"message": message, "step": 840})
    if state in ("old", "evaluated"):
        for seed in seeds:
            rng = np.random.default_rng(1000 * seed + int(100 * strength))
            who = {name: settings[name]["name"] for name in ("data", "encoder", "head")}
            who |= {"objective": settings["objective"]["name"], "seed": seed}
            who |= {"epoch": 20 + seed, "validation_error": 0.02}
            for record in records(rng, who, strength, hides):
                content = dataclasses.asdict(record)
                if state == "old":
                    del content["fallen"]
                name = f"{record.attack}-{record.loss}-{record.epsilon}-{seed}.json"
                write(folder / "evaluation" / name.replace("/", "_"), content)
            if state == "evaluated":
                findings(folder / "evaluation", rng, who, shape, names, hides)
            if left_out:
                unknown(folder / "evaluation", rng, who)
    return folder


def metrics(seed, epochs):
    rng = np.random.default_rng(seed)
    for epoch in range(1, epochs + 1):
        decay = np.exp(-epoch / 6)
        yield {
            "step": 14 * epoch,
            "seed": seed,
            "epoch": epoch,
            "train_loss": -1 + 1.2 * decay + 0.01 * rng.normal(),
            "train_accuracy": 1 - 0.5 * decay,
            "validation_loss": -0.95 + 1.1 * decay + 0.02 * rng.normal(),
            "validation_error": abs(0.02 + 0.5 * decay + 0.004 * rng.normal()),
            "learning_rate": 1e-3,
            "examples_per_second": 3e4,
        }


def records(rng, who, strength, hides):
    def record(attack, parameters, loss, epsilon, share, fallen):
        value, low, high = interval(rng.permutation(SIZE) < round(share * SIZE))
        zero = None if loss in ("none", "worst") else 0.12 * hides * (loss == "own")
        return Record(
            *(who, "test", attack, parameters, loss, epsilon, SIZE, value, low, high),
            *(zero, fallen, 2.5, PROVENANCE),
        )

    yield record("none", {}, "none", "0", rng.uniform(0.97, 0.995), None)
    for attack, parameters, power in (
        ("fgsm", {}, 8),
        ("pgd", {"num_steps": 40, "norm": "linf"}, 12),
        ("gaussian_noise", {}, 0.5),
    ):
        losses = {"own": 0.1 + 0.4 * hides, "margin": 0.0, "worst": -0.02}
        if attack == "gaussian_noise":
            losses = {"none": 0.0}
        for loss, shift in losses.items():
            for epsilon in EPSILONS:
                size = float(epsilon)
                noise = rng.uniform(0, 0.03)
                share = np.exp(-power * size * (1 - strength)) + shift + noise
                share = float(np.clip(share, 0, 0.97))
                fallen = None
                if loss != "worst":
                    fallen = {"n": int(SIZE * (1 - share)), "confidence": 0.61}
                    fallen |= {"l0": 60.0, "l1": 50 * size, "l2": 7.5 * size}
                    fallen |= {"linf": size}
                    fallen["survive_8_bits"] = int(fallen["n"] * 0.99)
                yield record(attack, parameters, loss, epsilon, share, fallen)


def histogram(confidences):
    counts, edges = np.histogram(confidences, np.linspace(0, 1, 21))
    return {
        "median_confidence": float(np.median(confidences)),
        "confidence_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
    }


def unknown(folder, rng, who):
    values = {
        "auroc": float(rng.uniform(0.8, 0.95)),
        "known_median_confidence": 0.95,
        **histogram(rng.beta(3, 2, 90)),
    }
    found = Finding(
        *("left_out", who, "test", {"classes": [8, 9]}, SIZE + 90, values),
        *(None, 1.5, PROVENANCE),
    )
    name = f"left_out-{who['seed']}.json"
    write(folder / name, dataclasses.asdict(found))


def findings(folder, rng, who, shape, names, hides):
    seed, classes = who["seed"], len(names)

    def store(kind, parameters, n, values, images=None, suffix=""):
        name = f"{kind}{suffix}-{seed}"
        if images is not None:
            folder.mkdir(parents=True, exist_ok=True)
            np.savez_compressed(folder / f"{name}.npz", **images)
        file = None if images is None else f"{name}.npz"
        found = Finding(kind, who, "test", parameters, n, values, file, 1.5, PROVENANCE)
        write(folder / f"{name}.json", dataclasses.asdict(found))

    sure = rng.beta(8, 1, SIZE)
    right = rng.uniform(size=SIZE) < 0.55 + 0.45 * sure
    bins = np.minimum((15 * sure).astype(int), 14)
    counts = np.bincount(bins, minlength=15)
    mean = [np.bincount(bins, w, 15) for w in (sure, right)]
    reliability = {"edges": np.linspace(0, 1, 16).tolist(), "counts": counts.tolist()}
    for field, sums in zip(("confidence", "accuracy"), mean, strict=True):
        reliability[field] = [
            float(s / c) if c else None for s, c in zip(sums, counts, strict=True)
        ]
    true = rng.integers(0, classes, SIZE)
    wrong = rng.uniform(size=SIZE) < 0.04
    decided = np.where(wrong, rng.integers(0, classes, SIZE), true)
    confusion = np.zeros((classes, classes), int)
    np.add.at(confusion, (true, decided), 1)
    value, low, high = interval(true == decided)
    store(
        "clean",
        {},
        SIZE,
        {
            "accuracy": value,
            "low": low,
            "high": high,
            "top_k": {"1": value, "3": 0.997, "5": 0.9995},
            "expected_calibration_error": float(rng.uniform(0.01, 0.05)),
            "negative_log_likelihood": float(rng.uniform(0.05, 0.2)),
            "brier_score": float(rng.uniform(0.01, 0.05)),
            **histogram(sure),
            "reliability": reliability,
            "confusion": confusion.tolist(),
            "class_names": names,
        },
    )
    noise = {"decisions": [100] * classes, **histogram(rng.beta(2, 3, 1000))}
    store("noise", {"low": -10, "high": 10}, 1000, noise)
    height, width, channels = shape
    y, x = np.mgrid[0:height, 0:width] / height

    def picture(k):
        ring = np.exp(-20 * (np.hypot(x - 0.45, y - 0.45) - 0.1 - 0.03 * k) ** 2)
        scale = np.linspace(1, 0.4, channels)
        return (ring[..., None] * scale).astype(np.float32)

    clean = np.stack([picture(k) for k in range(8)])
    change = 0.1 * rng.choice([-1, 0, 1], clean.shape)
    images = {
        "clean": clean,
        "perturbed": np.clip(clean + change, 0, 1).astype(np.float32),
        "labels": np.arange(8) % classes,
        "decisions": (np.arange(8) + 3 * (np.arange(8) != 5)) % classes,
        "confidences": rng.uniform(0.3, 0.9, 8),
        "epsilons": np.array(["0.05", "0.1"] * 4),
        "fell": np.arange(8) != 5,
    }
    for attack, loss, n in (("fgsm", "own", 90), ("pgd", "margin", 300)):
        parameters = {"attack": attack, "loss": loss, "epsilons": EPSILONS}
        values = histogram(rng.beta(4, 3, n))
        store("adversarial", parameters, n, values, images, f"-{attack}-{loss}")
    fooling = {"success": 0.9, "low": 0.8, "high": 0.95, "median_steps": 34.0}
    fooled = {
        "images": rng.uniform(0, 1, (10, *shape)).astype(np.float32),
        "targets": np.arange(10) % classes,
        "decisions": np.arange(10) % classes,
        "confidences": rng.uniform(0.98, 1, 10),
        "steps": rng.integers(10, 100, 10),
        "success": np.arange(10) != 3,
    }
    parameters = {"confidence": 0.99, "num_steps": 100, "step_size": 0.5}
    values = fooling | histogram(rng.beta(30, 1, 100))
    store("fooling", parameters, 100, values, fooled)
    signs = [
        {
            "name": "targeted stronger than untargeted",
            "yes": hides,
            "figures": {"untargeted": 0.62, "targeted": 0.41},
            "sentence": "Targeted PGD leaves 41 % standing, untargeted 62 %.",
        },
        {
            "name": "more steps weaker",
            "yes": False,
            "figures": {"10 steps": 0.52, "40 steps": 0.44},
            "sentence": "Forty steps leave 44 % standing, ten 52 %.",
        },
    ]
    warnings = ["softmax is given as scores: gradients vanish."] if hides else []
    zero = {"own": 0.12 * hides, "margin": 0.0}
    values = {"signs": signs, "zero_gradients": zero, "warnings": warnings}
    store("hidden_gradient", {"epsilon": "0.1", "num_steps": 40}, 200, values)


def make_sweep(
    folder, objectives=("softmax", "sng"), peaks=(1e-4, 1e-3, 1e-2), state="evaluated"
):
    """A sweep over two keys whose last cell diverged."""
    cells = {}
    for i, objective in enumerate(objectives):
        for j, peak in enumerate(peaks):
            last = (i + 1, j + 1) == (len(objectives), len(peaks))
            name = f"objective={objective},peak={peak}"
            cells[name] = {"objective.name": objective, "learning_rate.peak": peak}
            make_run(
                folder / name,
                objective=objective,
                peak=peak,
                state="diverged" if last else state,
                strength=0.1 * i + 0.1 * j,
                hides=bool(i) and j == 0,
            )
    vary = {"objective.name": list(objectives), "learning_rate.peak": list(peaks)}
    base = make_config()
    write(folder / "sweep.json", {"base": base, "vary": vary, "cells": cells})
    return folder
