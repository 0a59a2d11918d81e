"""Real signals to this very process, noted while long work goes on."""

import os
import signal
import threading
import time

import pytest

from robustlabels._stopping import Signals, Stopped, never

BOTH = [signal.SIGINT, signal.SIGTERM]


def send(number, until):
    """Sends itself a signal; the main thread sees it between two instructions."""
    os.kill(os.getpid(), number)
    deadline = time.monotonic() + 10
    while not until() and time.monotonic() < deadline:
        time.sleep(0.001)
    assert until()


@pytest.fixture
def obeyed():
    """The signals that reached whoever listened before, instead of ending pytest."""
    received = []
    before = {
        number: signal.signal(number, lambda number, frame: received.append(number))
        for number in BOTH
    }
    yield received
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers():
    return [signal.getsignal(number) for number in BOTH]


@pytest.mark.parametrize("number", BOTH)
def test_a_signal_is_noted_and_the_work_goes_on(number, obeyed):
    with Signals() as stop:
        assert not stop()
        assert stop.received is None
        send(number, until=stop)
        assert stop()
    assert stop.received is number
    assert stop()
    assert obeyed == []


@pytest.mark.parametrize("second", BOTH)
@pytest.mark.parametrize("first", BOTH)
def test_a_second_signal_is_obeyed(first, second, obeyed):
    with Signals() as stop:
        send(first, until=stop)
        send(second, until=lambda: obeyed)
    assert obeyed == [second]
    assert stop.received is first


def test_control_c_twice_ends_the_work(obeyed):
    # Whoever starts a process in the background may have it ignore Control-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Signals() as stop:
        send(signal.SIGINT, until=stop)
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT, until=lambda: False)


@pytest.mark.parametrize("error", [None, Stopped, KeyError])
def test_handlers_are_those_from_before_afterwards(error, obeyed):
    before = handlers()
    try:
        with Signals():
            assert not set(handlers()) & set(before)
            if error:
                raise error
    except (Stopped, KeyError):
        pass
    assert handlers() == before
    send(signal.SIGTERM, until=lambda: obeyed)
    assert obeyed == [signal.SIGTERM]


def test_handlers_are_restored_by_the_signal_already(obeyed):
    before = handlers()
    with Signals() as stop:
        send(signal.SIGINT, until=stop)
        assert handlers() == before
    assert handlers() == before


def test_another_thread_listens_to_nothing(obeyed):
    before, seen = handlers(), []

    def work():
        with Signals() as stop:
            seen.append(handlers() == before)
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 10
            while not obeyed and time.monotonic() < deadline:
                time.sleep(0.001)
            seen.append(stop())
        seen.append(handlers() == before)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [True, False, True]
    assert obeyed == [signal.SIGTERM]


def test_nobody_stops_by_default():
    assert never() is False
