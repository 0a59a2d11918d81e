"""Labels, outputs, features and saliency of a run in its report."""

import base64
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from sample_runs import DIGITS, PROVENANCE, make_run, write
from scipy.io import wavfile
from test_page import Page

from robustlabels.evaluation.records import Finding, write_finding
from robustlabels.labels import griffin_lim
from robustlabels.report import write_report

RNG = np.random.default_rng(0)
CODEBOOK = RNG.uniform(0, 80, (10, 64, 64)).astype(np.float32)
OUTPUTS = RNG.uniform(0, 80, (2, 64, 64)).astype(np.float32)
IMAGES = RNG.uniform(size=(2, 8, 8, 1)).astype(np.float32)


def make_labels(folder, *, name="speech", codebook=CODEBOOK, inside=True):
    run = make_run(folder, objective="label_regression")
    arrays = {
        "class_names": np.array(DIGITS),
        "source": np.array(f'{{"name": "{name}"}}'),
    }
    np.savez(run / "codebook.npz", matrix=codebook, **arrays)
    if inside:
        shown = {"images": IMAGES, "labels": np.array([1, 2]), "decisions": [1, 3]}
        values = {"accepted": 0.25, "accepted_and_right": 0.2, "mean_loss": 4.0}
        losses = np.array([2.5, 4.5])
        keep(
            run,
            "outputs",
            values,
            threshold=3.5,
            **shown,
            losses=losses,
            outputs=OUTPUTS,
        )
        maps = RNG.uniform(size=(2, 2, 8, 8))
        keep(run, "saliency", {"layers": ["conv_1", "conv_2"]}, **shown, maps=maps)
        points = RNG.normal(size=(2, 30, 2))
        classes = np.arange(30) % 10
        moments = np.array([0, 7])
        values = {"epochs": [0, 7]}
        keep(run, "features", values, epochs=moments, points=points, labels=classes)
    return run


def keep(run, kind, values, *, threshold=None, **arrays):
    finding = Finding(
        kind=kind,
        classifier={"seed": 0},
        split="test",
        parameters={} if threshold is None else {"threshold": threshold},
        n=30,
        values=values,
        images=None,
        seconds=1.0,
        provenance=PROVENANCE,
    )
    write_finding(run, finding, {k: np.asarray(v) for k, v in arrays.items()})


def section(page, identity):
    return page.source.split(f'id="{identity}"')[1].split("</section>")[0]


def pictures(text):
    coded = re.findall(r'src="data:image/png;base64,([^"]*)"', text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(c)))) for c in coded]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    run = make_labels(tmp_path_factory.mktemp("runs") / "run")
    return Page(write_report([run], run / "report.html"))


def test_each_label_is_a_picture_in_the_colours_of_the_codebook(page):
    text = section(page, "labels")
    shown = pictures(text)
    assert len(shown) == 10
    from matplotlib import colormaps

    low, high = CODEBOOK.min(), CODEBOOK.max()
    share = (CODEBOOK[3][::-1] - low) / (high - low)
    expected = 255 * colormaps["viridis"](share)[..., :3]
    np.testing.assert_allclose(shown[3], expected, atol=1)
    assert "speech, 64 \N{MULTIPLICATION SIGN} 64 numbers" in text
    assert 'href="codebook.npz"' in text


def test_outputs_stand_beside_their_labels_and_sound(page):
    text = section(page, "outputs")
    assert len(pictures(text)) == 6
    assert "<b>1</b> → <b>1</b>, loss 2.50" in text
    assert "<b>2</b> → <b>3</b>, loss 4.50" in text
    assert "25.0 % of 30 outputs are accepted: their loss is below 3.50" in text
    coded = re.findall(r'<audio src="data:audio/wav;base64,([^"]*)"', text)
    assert len(coded) == 4
    for code, label in zip(coded[:2], (CODEBOOK[1], OUTPUTS[0]), strict=True):
        rate, samples = wavfile.read(io.BytesIO(base64.b64decode(code)))
        assert rate == 22_050
        np.testing.assert_allclose(samples / (2**15 - 1), griffin_lim(label), atol=1e-4)


def test_features_have_a_panel_a_moment(page):
    text = section(page, "features")
    assert [title for title in ("untrained", "epoch 7") if f"<h3>{title}</h3>" in text]
    assert text.count("<svg") == 2


def test_saliency_shows_each_layer(page):
    text = section(page, "saliency")
    assert len(pictures(text)) == 6
    assert text.count(">conv_1<") == text.count(">conv_2<") == 2
    assert "Grad-CAM at 2 depths" in text
    assert "<b>2</b> → <b>3</b>" in text


def test_labels_that_are_no_speech_have_no_sound_and_may_be_vectors(tmp_path):
    vectors = RNG.uniform(0, 80, (10, 5))
    run = make_labels(tmp_path / "run", name="uniform", codebook=vectors, inside=False)
    page = Page(write_report([run], run / "report.html"))
    assert "<audio" not in page.source
    assert [picture.shape for picture in pictures(section(page, "labels"))] == [
        (1, 5, 3)
    ] * 10


def test_speech_of_another_number_of_bands_has_no_sound(tmp_path):
    run = make_labels(tmp_path / "run", codebook=CODEBOOK[:, ::2, ::2])
    page = Page(write_report([run], run / "report.html"))
    assert len(pictures(section(page, "outputs"))) == 6
    assert "<audio" not in page.source


def test_runs_share_their_labels(tmp_path):
    runs = [make_labels(tmp_path / name, inside=False) for name in ("a", "b")]
    page = Page(write_report(runs, tmp_path / "report.html"))
    assert len(pictures(section(page, "labels"))) == 10


def test_accuracy_by_share_of_the_data_is_that_of_the_records(tmp_path):
    cells = {}
    for objective in ("softmax", "sng"):
        for share in (0.02, 0.2, 1.0):
            name = f"{objective}-{share}"
            run = make_run(tmp_path / name, objective=objective, strength=share)
            written = json.loads((run / "config.json").read_text())
            written["config"]["data"]["train_fraction"] = share
            written["config"]["training"]["passes"] = 0
            write(run / "config.json", written)
            cells[name] = {"objective": objective, "data.train_fraction": share}
    write(tmp_path / "sweep.json", {"cells": cells})
    page = Page(write_report([tmp_path], tmp_path / "report.html"))
    text = section(page, "efficiency")
    assert "each trained for as many steps as with all of them" in text
    for objective in ("softmax", "sng"):
        for share in (0.02, 0.2, 1.0):
            folder = tmp_path / f"{objective}-{share}" / "evaluation"
            values = [
                record["value"]
                for path in folder.glob("none-*.json")
                if (record := json.loads(path.read_text()))["attack"] == "none"
            ]
            assert f"{100 * np.mean(values):.1f} % of {100 * share:.1f} %" in text


def test_one_share_makes_no_curve(tmp_path):
    run = make_run(tmp_path / "run")
    page = Page(write_report([run], run / "report.html"))
    assert 'id="efficiency"' not in page.source


def test_damaged_arrays_are_named(tmp_path):
    run = make_labels(tmp_path / "run")
    (path,) = (run / "evaluation").glob("outputs-*.npz")
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"outputs-.*npz is missing or damaged"):
        write_report([run], run / "report.html")
