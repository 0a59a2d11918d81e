"""Matrices over classes and learned mixing in the report, and a collapse that shows."""

import json

import numpy as np
import pytest
from sample_runs import DIGITS, make_run
from test_page import Page

from robustlabels.report import write_report

RNG = np.random.default_rng(0)
SIMILARITY = RNG.uniform(0.5, 1.5, (10, 10)) * (1 - np.eye(10))
SIMILARITY /= SIMILARITY.sum(axis=1, keepdims=True)
LDA = {"name": "lda", "run": "", "layer": "embedding", "centered": True}
FINE = np.full(10, 0.2)


def keep(path, matrix, source):
    arrays = {"class_names": np.array(DIGITS), "source": np.array(json.dumps(source))}
    np.savez(path, matrix=matrix, **arrays)


def make_mixing(folder, *, epsilons=FINE, similarity=SIMILARITY, seeds=(0,)):
    """A run of SG-MCEL whose ε goes from 0.2 to what is given."""
    run = make_run(folder, state="training", seeds=seeds, objective="sg_mcel")
    keep(run / "similarity.npz", similarity, LDA)
    targets = np.diag(1 - epsilons) + epsilons[:, None] * similarity
    keep(run / "targets.npz", np.stack([targets] * len(seeds)), {"name": "sg_mcel"})
    lines = [json.loads(x) for x in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        share = line["epoch"] / 12
        now = share * epsilons + (1 - share) * 0.2
        line |= {"epsilon": now.tolist(), "epsilon_mean": float(now.mean())}
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run / "metrics.jsonl").write_text(text)
    return run


def section(page):
    return page.source.split('id="mixing"')[1].split("</section>")[0]


def test_a_run_shows_similarity_targets_and_what_was_learned(tmp_path):
    run = make_mixing(tmp_path / "run", epsilons=np.linspace(0.1, 0.3, 10))
    page = Page(write_report([run], run / "report.html"))
    assert "What classes are asked for" in page.titles
    shown = [title for tag, title in page.headings if tag == "h3"]
    for title in ("class similarity", "targets in the end", "learned ε"):
        assert title in shown
    text = section(page)
    for share in SIMILARITY[SIMILARITY > 0]:
        assert f">{100 * share:.1f}<" in text
    for epsilon in np.linspace(0.1, 0.3, 10):
        assert f">{100 - 100 * epsilon:.1f}<" in text
    gap = np.abs(SIMILARITY - SIMILARITY.T).max()
    assert f"lda (features pixels, centered yes), largest asymmetry {gap:.3f}" in text
    assert "layer embedding" not in text
    for name in ("similarity.npz", "targets.npz", "metrics.jsonl"):
        assert f'href="{name}"' in text
    assert (run / "figures" / "mixing.png").exists()
    assert "Mixing collapsed" not in page.source


def test_a_collapse_is_said_first(tmp_path):
    run = make_mixing(tmp_path / "run", epsilons=np.full(10, 0.002))
    page = Page(write_report([run], tmp_path / "report.html"))
    first = page.source.split('id="first"')[1].split("</section>")[0]
    assert "Mixing collapsed" in first
    assert "ends at 0.00200 in the mean" in first


def test_runs_with_one_similarity_share_its_picture(tmp_path):
    runs = [make_mixing(tmp_path / name) for name in ("a", "b")]
    other = np.roll(SIMILARITY, 1, axis=(0, 1))
    runs.append(make_mixing(tmp_path / "c", similarity=other, seeds=(0, 1)))
    page = Page(write_report(runs, tmp_path / "report.html"))
    shown = [title for tag, title in page.headings if tag == "h3"]
    pictures = [title for title in shown if title.endswith("class similarity")]
    assert pictures == ["2 runs: class similarity", "c: class similarity"]
    assert [title for title in shown if title.endswith("learned ε")] == [
        "a: learned ε",
        "b: learned ε",
        "c: learned ε",
    ]


def test_a_run_without_matrices_has_no_such_section(tmp_path):
    run = make_run(tmp_path / "run", state="training")
    page = Page(write_report([run], tmp_path / "report.html"))
    assert "What classes are asked for" not in page.titles


def test_a_noise_matrix_is_shown(tmp_path):
    run = make_run(tmp_path / "run", state="training")
    swapped = 0.7 * np.eye(10) + 0.3 * np.eye(10)[::-1]
    keep(run / "noise_matrix.npz", swapped, {"name": "known"})
    text = section(Page(write_report([run], tmp_path / "report.html")))
    assert text.count(">70.0<") == text.count(">30.0<") == 10


def test_clean_validation_of_noisy_labels_is_said(tmp_path):
    for name, noisy in (("clean", False), ("noisy", True)):
        run = make_run(tmp_path / name, state="training")
        written = json.loads((run / "config.json").read_text())
        noise = {"swap_rate": 0.3, "noisy_validation": noisy}
        written["config"]["data"] |= noise
        (run / "config.json").write_text(json.dumps(written))
        source = write_report([run], tmp_path / "report.html").read_text()
        assert ("30.0 % of the training labels are swapped" in source) == (not noisy)


def test_a_damaged_matrix_is_named(tmp_path):
    run = make_mixing(tmp_path / "run")
    (run / "similarity.npz").write_bytes(b"PK damaged")
    with pytest.raises(ValueError, match=r"similarity\.npz is damaged"):
        write_report([run], tmp_path / "report.html")
