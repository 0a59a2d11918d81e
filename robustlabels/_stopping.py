"""Being asked to stop: a signal is noted, and long work ends where nothing is lost."""

import os
import signal
import threading
from collections.abc import Callable

Stop = Callable[[], bool]


class Stopped(Exception):
    """Long work was asked to stop, and has saved how far it came."""


def never() -> bool:
    """What work asks that nobody stops.

    >>> never()
    False
    """
    return False


class Signals:
    """Notes SIGINT and SIGTERM instead of dying of them; a second one is obeyed.

    As a context, in the main thread; elsewhere it does nothing. Calling it says whether
    a signal came.

    >>> with Signals() as stop:
    ...     print(stop())
    False
    """

    def __init__(self):
        self.received: signal.Signals | None = None
        self._before = {}

    def __call__(self) -> bool:
        """Whether to stop."""
        return self.received is not None

    def _note(self, number, frame):
        del frame
        self.received = signal.Signals(number)
        self._restore()
        # Not print: the signal may have come in the middle of one.
        os.write(2, b"\nStopping where nothing is lost; once more stops at once.\n")

    def _restore(self):
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def __enter__(self) -> "Signals":
        """Starts to listen."""
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        """Leaves the signals to whom they belonged."""
        self._restore()
