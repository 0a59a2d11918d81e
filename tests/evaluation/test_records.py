"""Records: intervals by formula, files that are whole, errors that name them."""

import dataclasses
import importlib.metadata
import json
import math
import subprocess

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robustlabels.evaluation import (
    Finding,
    Record,
    interval,
    provenance,
    read_arrays,
    read_findings,
    read_records,
    records,
    write_finding,
    write_record,
)


def record(**changes):
    fields = {
        "classifier": {"data": "fake", "epoch": 3, "validation_error": 0.1},
        "split": "test",
        "attack": "pgd",
        "parameters": {"name": "pgd", "num_steps": 10, "relative_step_size": 0.1},
        "loss": "own",
        "epsilon": "8/255",
        "n": 10,
        "value": 0.7,
        "low": 0.4,
        "high": 0.9,
        "zero_gradients": 0.2,
        "fallen": {"n": 3, "confidence": 0.5},
        "seconds": 1.5,
        "provenance": {"versions": {"jax": "1"}, "commit": None},
    }
    return Record(**{**fields, **changes})


def finding(**changes):
    fields = {
        "kind": "adversarial",
        "classifier": {"data": "fake", "seed": 0},
        "split": "test",
        "parameters": {"attack": "pgd", "loss": "own", "epsilons": ["0.1", "8/255"]},
        "n": 7,
        "values": {"median_confidence": 0.5, "counts": [1, 2], "none": None},
        "images": None,
        "seconds": 0.5,
        "provenance": {"commit": None},
    }
    return Finding(**{**fields, **changes})


@settings(deadline=None, max_examples=100, derandomize=True)
@given(size=st.integers(1, 500), share=st.floats(0, 1), seed=st.integers(0, 9))
def test_the_interval_is_that_of_wilson(size, share, seed):
    hits, z = round(share * size), 1.959963984540054
    flags = np.random.default_rng(seed).permutation(np.arange(size) < hits)
    centre = (hits + z**2 / 2) / (size + z**2)
    half = z / (size + z**2) * math.sqrt(hits * (size - hits) / size + z**2 / 4)
    value, low, high = interval(flags)
    assert value == hits / size
    np.testing.assert_allclose([low, high], [centre - half, centre + half], atol=1e-9)
    assert 0 <= low <= value <= high <= 1


@pytest.mark.parametrize("size", [1, 2, 10_000])
def test_none_and_all_have_an_interval_too(size):
    z2 = 1.959963984540054**2
    value, low, high = interval(np.zeros(size, bool))
    assert (value, low) == (0.0, 0.0)
    assert high == pytest.approx(z2 / (size + z2))
    value, low, high = interval(np.ones(size, bool))
    assert (value, high) == (1.0, 1.0)
    assert low == pytest.approx(size / (size + z2))


def test_the_error_is_the_other_side():
    assert record().error == pytest.approx((0.3, 0.1, 0.6))
    value, low, high = record().error
    assert low < value < high


def test_what_is_written_is_read(tmp_path):
    written = [
        record(),
        record(epsilon="0.1", value=1 / 3),
        record(loss="margin", zero_gradients=None),
        record(attack="none", loss="none", epsilon="0", parameters={}),
    ]
    paths = [write_record(tmp_path, one) for one in written]
    assert {path.parent for path in paths} == {tmp_path / "evaluation"}
    found = read_records(str(tmp_path))
    assert len(found) == 4
    for one in written:
        assert one in found
    assert found == [
        one for _, one in sorted(zip(paths, written, strict=True), key=lambda p: p[0])
    ]
    assert json.loads(paths[0].read_text()) == dataclasses.asdict(written[0])
    assert {path.suffix for path in (tmp_path / "evaluation").iterdir()} == {".json"}


def test_the_same_cell_measured_again_replaces_the_older(tmp_path):
    reordered = dict(reversed(record().parameters.items()))
    again = record(value=0.5, seconds=9.0, parameters=reordered, provenance={})
    assert write_record(tmp_path, record()) == write_record(tmp_path, again)
    assert read_records(tmp_path) == [again]


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"name": "pgd", "num_steps": 20, "relative_step_size": 0.1}},
        {"split": "validation"},
        {"n": 20},
        {"epsilon": "0.1"},
        {"loss": "worst"},
        {"attack": "pgd_l2"},
    ],
)
def test_another_cell_is_another_file(tmp_path, change):
    assert write_record(tmp_path, record()) != write_record(tmp_path, record(**change))
    assert len(read_records(tmp_path)) == 2


@pytest.mark.parametrize(
    "content", ["", '{"split": "test"', "{}", "[1, 2]", "null", '{"split": "test"}']
)
def test_a_damaged_file_is_named(tmp_path, content):
    write_record(tmp_path, record(epsilon="0.1"))
    path = write_record(tmp_path, record())
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path.name} holds no .*delete it and eval"):
        read_records(tmp_path)


def test_a_field_too_many_is_no_record(tmp_path):
    path = write_record(tmp_path, record())
    path.write_text(json.dumps({**json.loads(path.read_text()), "more": 1}))
    with pytest.raises(ValueError, match=f"{path.name} holds no evaluation record"):
        read_records(tmp_path)


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_what_fails_halfway_leaves_what_was_there(tmp_path, monkeypatch, error):
    images = {"clean": np.zeros(3)}
    write_record(tmp_path, record())
    write_finding(tmp_path, finding(), images)
    before = {p: p.read_bytes() for p in (tmp_path / "evaluation").iterdir()}

    def fails(self, target):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr("pathlib.Path.replace", fails)
        with pytest.raises((KeyboardInterrupt, OSError)):
            write_record(tmp_path, record(value=0.1))
        with pytest.raises((KeyboardInterrupt, OSError)):
            write_finding(tmp_path, finding(n=9), {"clean": np.ones(3)})
    assert before == {p: p.read_bytes() for p in (tmp_path / "evaluation").iterdir()}
    assert read_records(tmp_path) == [record()]


def test_what_is_unfinished_is_overlooked(tmp_path):
    path = write_record(tmp_path, record())
    path.with_name(f"{path.name}.123.tmp").write_text("{")
    assert read_records(tmp_path) == [record()]


def test_findings_and_records_share_a_folder(tmp_path):
    images = {"clean": np.arange(6.0).reshape(1, 2, 3, 1), "labels": np.array([4])}
    written = write_finding(tmp_path, finding(), images)
    write_record(tmp_path, record())
    assert write_finding(tmp_path, finding(kind="noise")) == finding(kind="noise")
    noise, adversarial = sorted(read_findings(tmp_path), key=lambda f: f.images or "")
    assert noise == finding(kind="noise")
    (path,) = (tmp_path / "evaluation").glob("*.npz")
    assert path.with_suffix(".json").is_file()
    assert adversarial == written == finding(images=path.name)
    assert read_records(tmp_path) == [record()]
    stored = read_arrays(str(tmp_path), adversarial)
    assert set(stored) == set(images)
    for name, array in images.items():
        np.testing.assert_array_equal(stored[name], array)
    assert read_arrays(tmp_path, noise) == {}


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped"])
def test_arrays_that_are_missing_or_damaged_are_named(tmp_path, damage):
    written = write_finding(tmp_path, finding(), {"right": np.arange(100.0)})
    path = tmp_path / "evaluation" / written.images
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        flipped = content[:300] + bytes([content[300] ^ 1]) + content[301:]
        contents = {"empty": b"", "cut": content[:-10], "flipped": flipped}
        path.write_bytes(contents[damage])
    message = f"{path.name} is missing or damaged: delete {path.stem}.json beside it"
    with pytest.raises(ValueError, match=message):
        read_arrays(tmp_path, written)


def test_the_same_finding_replaces_the_older(tmp_path):
    again = finding(seconds=9.0)
    write_finding(tmp_path, finding())
    write_finding(tmp_path, again)
    assert read_findings(tmp_path) == [again]
    parameters = {**finding().parameters, "loss": "margin"}
    changes = [{"kind": "noise"}, {"parameters": parameters}, {"split": "validation"}]
    changes += [{"n": 9}, {"provenance": {"digest": "other"}}]
    for change in [*changes, {"classifier": {"data": "fake", "seed": 1}}]:
        write_finding(tmp_path, finding(**change))
    assert len(read_findings(tmp_path)) == 7


def test_every_seed_has_files_of_its_own(tmp_path):
    for seed in (0, 1, 10):
        path = write_record(tmp_path, record(classifier={"seed": seed}))
        assert f"-seed{seed}-" in path.name
    assert len(read_records(tmp_path)) == 3


@pytest.mark.parametrize("read", [read_records, read_findings])
@pytest.mark.parametrize("content", ['{"kind": "noise"}', '{"split": "test"}'])
def test_no_reader_skips_what_is_damaged(tmp_path, read, content):
    write_finding(tmp_path, finding())
    (path,) = (tmp_path / "evaluation").iterdir()
    path.write_text(content)
    with pytest.raises(ValueError, match=f"{path.name} holds no evaluation record"):
        read(tmp_path)


def test_a_run_without_records_has_none(tmp_path):
    assert read_records(tmp_path) == []


def test_provenance_has_versions_commit_and_device():
    found = provenance()
    for name, version in found["versions"].items():
        assert version == importlib.metadata.version(name)
    assert {"robustlabels", "jax", "flax", "optax", "numpy"} <= found["versions"].keys()
    assert found["num_devices"] == len(jax.devices())
    assert found["device"] == jax.devices()[0].device_kind
    json.dumps(found)


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    done = subprocess.run(
        ["git", "-C", folder, *identity, *arguments],
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_the_commit_is_that_of_the_source_and_of_nobody_else(tmp_path, monkeypatch):
    package = tmp_path / "environment"
    package.mkdir()
    file = package / "records.py"
    file.write_text("source")
    monkeypatch.setattr(records, "__file__", str(file))
    commit = records._commit.__wrapped__
    assert commit() is None
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text("environment/")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-m", "a user's project")
    assert commit() is None
    git(tmp_path, "add", "-f", str(file))
    git(tmp_path, "commit", "-m", "the source")
    assert commit() == git(tmp_path, "rev-parse", "HEAD")
    file.write_text("changed")
    assert commit() == git(tmp_path, "rev-parse", "HEAD") + "-dirty"
    monkeypatch.setenv("PATH", "")
    assert commit() is None
