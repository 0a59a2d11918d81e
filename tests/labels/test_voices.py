"""Text to speech."""

import sys
import threading

import numpy as np
import pytest

from robustlabels.labels import synthesize


def test_what_is_said_does_not_depend_on_what_was_said():
    first, rate = synthesize("cat")
    assert rate == 22_050
    assert first.dtype == np.int16
    synthesize("Katze", voice="de")
    with pytest.raises(ValueError, match="unknown"):
        synthesize("cat", voice="nobody")
    again, _ = synthesize("cat")
    np.testing.assert_array_equal(first, again)


def test_threads_wait_for_each_other():
    words = ["cat", "dog", "ship", "frog"]
    alone = [synthesize(word)[0] for word in words]
    together = {}

    def say(word):
        together[word] = synthesize(word)[0]

    threads = [threading.Thread(target=say, args=(word,)) for word in words]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for word, audio in zip(words, alone, strict=True):
        np.testing.assert_array_equal(together[word], audio)


def test_languages_sound_different():
    sounds = {synthesize("radio", voice=v)[0].tobytes() for v in ("en-us", "de", "fr")}
    assert len(sounds) == 3


def test_words_sound_and_silence_does_not():
    audio, rate = synthesize("crocodile")
    assert 0.3 < len(audio) / rate < 1.5
    assert abs(audio.astype(int)).max() > 5000
    assert not synthesize("")[0].any()


def test_an_unknown_voice_is_told_of_those_that_come_close():
    with pytest.raises(ValueError, match=r"'en_us' is unknown; .*'en-us'.*\d+ lang"):
        synthesize("cat", voice="en_us")


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(ImportError, match=r"pip install 'robustlabels\[speech\]'"):
        synthesize("cat")


def test_data_that_cannot_be_read(monkeypatch, tmp_path):
    import espeakng_loader

    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(tmp_path))
    with pytest.raises(RuntimeError, match="cannot read its data in"):
        synthesize("cat")
    monkeypatch.undo()
    assert synthesize("cat")[0].any()


def test_data_may_be_far_away(monkeypatch, tmp_path):
    import espeakng_loader

    expected, _ = synthesize("cat")
    far = tmp_path / ("x" * 100) / ("y" * 100)
    far.mkdir(parents=True)
    (far / "data").symlink_to(espeakng_loader.get_data_path())
    monkeypatch.setattr(espeakng_loader, "get_data_path", lambda: str(far / "data"))
    np.testing.assert_array_equal(synthesize("cat")[0], expected)
