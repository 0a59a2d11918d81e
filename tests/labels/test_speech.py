"""Spoken labels, from the voice and from recordings."""

import numpy as np
import pytest
from scipy.io import wavfile

from robustlabels.labels import recordings, shuffled, shuffled_speech, speech

NAMES = ["cat", "maple_tree"]


@pytest.fixture
def folder(tmp_path):
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 9000)).astype(np.float32)
    for name, sound in zip(NAMES, noise, strict=True):
        wavfile.write(tmp_path / f"{name}.wav", 22_050, sound)
    return tmp_path


def test_labels_of_the_voice(cifar_10):
    found = speech(cifar_10)
    assert found.shape == (10, 64, 64)
    assert found.dtype == np.float32
    assert found.min() == 0
    assert (found.min(axis=(1, 2)) < 20).all()
    assert (found.max(axis=(1, 2)) > 79).all()
    assert found.max() <= 80
    np.testing.assert_array_equal(speech(cifar_10[2:4]), found[2:4])
    assert speech(cifar_10[:2], shape=(32, 10)).shape == (2, 32, 10)
    assert (speech(cifar_10[:2], voice="de") != found[:2]).any()
    np.testing.assert_array_equal(shuffled_speech(cifar_10), shuffled(found))


def test_underscores_are_spaces():
    spaced, joined = (recordings([n, "x"])[0] for n in ("maple tree", "maple_tree"))
    np.testing.assert_array_equal(spaced, joined)


def test_recordings_by_name_or_by_id(folder):
    by_name = speech(NAMES, wav_dir=folder)
    for i, name in enumerate(NAMES):
        (folder / f"{name}.wav").rename(folder / f"{i}.wav")
    np.testing.assert_array_equal(speech(NAMES, wav_dir=str(folder)), by_name)
    (folder / "0.wav").rename(folder / "a_b.wav")
    (folder / "1.wav").rename(folder / "c.wav")
    np.testing.assert_array_equal(speech(["a/b", "c"], wav_dir=folder), by_name)


def test_all_recordings_that_are_missing_are_listed(folder):
    with pytest.raises(FileNotFoundError) as caught:
        speech([*NAMES, "dog", "red fox"], wav_dir=folder)
    for part in (
        f"2 recordings of 4 are missing in {folder}: dog.wav, red fox.wav.",
        "as in cat.wav",
        "as in 0.wav",
    ):
        assert part in str(caught.value)


def test_classes_without_a_sound(folder):
    with pytest.raises(ValueError, match=r"class '_' makes no sound .*give recordings"):
        speech(["cat", "_"])
    wavfile.write(folder / "cat.wav", 22_050, np.ones(500, np.float32))
    with pytest.raises(ValueError, match=r"class 'cat': .*more than 1,024"):
        speech(NAMES, wav_dir=folder)
    (folder / "cat.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"cat\.wav is no WAV file"):
        speech(NAMES, wav_dir=folder)


def test_classes_that_sound_the_same():
    with pytest.raises(ValueError, match="classes 0 and 2 are equal"):
        speech(["sea", "cat", "see"])


def test_a_shape_is_refused_before_anything_is_said():
    with pytest.raises(ValueError, match=r"shape=\(64,\) has not the two sides"):
        speech(["_", "cat"], shape=(64,))
