"""Text to speech by espeak-ng, in this process and without a network."""

import contextlib
import ctypes
import difflib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from jaxtyping import Int16

__all__ = ["synthesize"]

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS, _UTF8, _NO_EXIT = 2, 1, 1 << 15
_Callback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p
)

_LOCK = threading.Lock()  # the library has one state for all threads


class _Voice(ctypes.Structure):
    """The head of espeak-ng's record of a voice."""

    _fields_ = (("name", ctypes.c_char_p), ("languages", ctypes.c_char_p))


def synthesize(
    text: str, *, voice: str = "en-us"
) -> tuple[Int16[np.ndarray, " samples"], int]:
    """Speaks a text: 16-bit audio, and how many samples a second it has.

    Args:
      text: to speak; if nothing in it has a sound, silence comes.
      voice: a language of espeak-ng such as "en-us", "de" or "cmn", or a voice's name.

    Raises:
      ImportError: without the extra `speech`.
      ValueError: for an unknown voice, with those that come closest to it.
      RuntimeError: if espeak-ng cannot start.

    Guarantees: the same audio whatever was spoken before; one thread speaks at a time.

    >>> audio, rate = synthesize("cat")
    >>> rate, 0.2 < len(audio) / rate < 2
    (22050, True)
    """
    samples, encoded = bytearray(), text.encode()

    def collect(start: int | None, count: int, _: int | None) -> int:
        if start:
            samples.extend(ctypes.string_at(start, 2 * count))
        return 0

    callback = _Callback(collect)
    with _LOCK, _espeak() as (library, rate):
        if library.espeak_SetVoiceByName(voice.encode()):
            known = sorted(set(_languages(library)))
            close = difflib.get_close_matches(voice, known, n=8, cutoff=0.0)
            raise ValueError(
                f"voice={voice!r} is unknown; choose one of "
                f"{', '.join(map(repr, close))}, or another of the {len(known)} "
                "languages of espeak-ng."
            )
        library.espeak_SetSynthCallback(callback)
        library.espeak_Synth(encoded, len(encoded) + 1, 0, 0, 0, _UTF8, None, None)
    return np.frombuffer(bytes(samples), np.int16), rate


@contextlib.contextmanager
def _espeak() -> Iterator[tuple[ctypes.CDLL, int]]:
    """The library, loaded anew: what it says depends on what it has said since then."""
    try:
        import espeakng_loader
    except ImportError as error:
        raise ImportError(
            "espeak-ng is missing, which speaks the names of classes. Run "
            "pip install 'robustlabels[speech]', or give recordings as wav_dir."
        ) from error
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    text, numbers, pointers = (
        ctypes.c_char_p,
        [ctypes.c_uint] * 4,
        [ctypes.c_void_p] * 2,
    )
    library.espeak_Synth.argtypes = [text, ctypes.c_size_t, *numbers, *pointers]
    library.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_Voice))
    try:
        # It has room for 160 bytes of a path, and there are longer ones.
        with tempfile.TemporaryDirectory() as folder:
            data = Path(folder) / "data"
            data.symlink_to(espeakng_loader.get_data_path())
            path = os.fsencode(data)
            rate = library.espeak_Initialize(_SYNCHRONOUS, 0, path, _NO_EXIT)
            if rate <= 0:
                raise RuntimeError(
                    "espeak-ng cannot read its data in "
                    f"{espeakng_loader.get_data_path()}. Install it again."
                )
            try:
                yield library, rate
            finally:
                library.espeak_Terminate()
    finally:
        ctypes.CDLL(None).dlclose(ctypes.c_void_p(library._handle))


def _languages(library: ctypes.CDLL) -> Iterator[str]:
    voices, i = library.espeak_ListVoices(None), 0
    while voices[i]:
        # A byte of priority comes before the first language.
        yield voices[i].contents.languages[1:].decode()
        i += 1
