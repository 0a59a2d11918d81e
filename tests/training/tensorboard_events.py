"""Reads TensorBoard's event files: records of a length, a checksum, bytes, another."""

import struct

from tensorboardX.proto import event_pb2


def read_scalars(folder):
    """(step, value) by name, in the order they were written."""
    (path,) = folder.glob("events.out.tfevents.*")
    raw, start, shown = path.read_bytes(), 0, {}
    while start < len(raw):
        (length,) = struct.unpack_from("<Q", raw, start)
        event = event_pb2.Event.FromString(raw[start + 12 : start + 12 + length])
        start += 12 + length + 4
        for value in event.summary.value:
            shown.setdefault(value.tag, []).append((event.step, value.simple_value))
    assert start == len(raw), "the last record is cut"
    return shown
