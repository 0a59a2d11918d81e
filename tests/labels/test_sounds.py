"""Sounds of any rate and WAV files of any kind."""

import numpy as np
import pytest
from scipy.io import wavfile

from robustlabels.labels.sounds import RATE, at_rate, read_wav


def tone(rate, *, hertz=440.0, seconds=0.5):
    """A tone that swells and fades."""
    time = np.arange(int(seconds * rate)) / rate
    envelope = np.sin(np.pi * time / seconds) ** 4
    return (0.8 * envelope * np.sin(2 * np.pi * hertz * time)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 24_000, 44_100, 48_000])
def test_a_tone_stays_the_same_at_another_rate(rate):
    found = at_rate(tone(rate), rate)
    assert found.shape == (RATE // 2,)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, tone(RATE), atol=2e-4)


def test_what_no_new_rate_can_have_is_gone():
    assert abs(at_rate(tone(48_000, hertz=15_000.0), 48_000)).max() < 1e-3


def test_time_is_not_stretched_by_odd_lengths():
    sound = tone(24_000)
    for cut in (0, 1, 77):
        found = at_rate(sound[: len(sound) - cut], 24_000)
        np.testing.assert_allclose(found, tone(RATE)[: len(found)], atol=2e-4)


@pytest.mark.parametrize("rate", [0, -1, True])
def test_what_is_no_rate(rate):
    with pytest.raises(ValueError, match=f"sample_rate={rate} is not"):
        at_rate(tone(RATE), rate)


def test_files_of_all_kinds_are_the_same_sound(tmp_path):
    sound = tone(RATE)
    kinds = {
        "bytes": (128 + 127 * sound).round().astype(np.uint8),
        "short": (2**15 * sound).round().astype(np.int16),
        "long": (2.0**31 * sound).round().astype(np.int32),
        "floats": sound,
        "stereo": np.stack([1.5 * sound, 0.5 * sound], axis=1),
    }
    for name, samples in kinds.items():
        wavfile.write(tmp_path / name, RATE, samples)
        tolerance = 0.012 if name == "bytes" else 1e-4
        found = read_wav(tmp_path / name)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, sound, atol=tolerance)


def test_chunks_that_are_no_sound_are_passed_over(tmp_path):
    path = tmp_path / "a.wav"
    wavfile.write(path, RATE, tone(RATE))
    data = path.read_bytes() + b"note" + (4).to_bytes(4, "little") + b"made"
    path.write_bytes(data)
    np.testing.assert_array_equal(read_wav(path), tone(RATE))


def test_files_without_sound(tmp_path):
    wavfile.write(tmp_path / "none.wav", RATE, np.zeros(0, np.int16))
    wavfile.write(tmp_path / "still.wav", RATE, np.zeros(5000, np.int16))
    wavfile.write(tmp_path / "still8.wav", RATE, np.full(5000, 128, np.uint8))
    for path in tmp_path.iterdir():
        with pytest.raises(ValueError, match=rf"{path.name} is empty or silent"):
            read_wav(path)
    (tmp_path / "text.wav").write_text("no sound")
    (tmp_path / "touched.wav").touch()
    for name in ("text.wav", "touched.wav"):
        with pytest.raises(ValueError, match=rf"{name} is no WAV file"):
            read_wav(tmp_path / name)
