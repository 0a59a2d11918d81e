"""Reads TensorBoard's event files: records of a length, a checksum, bytes, another."""

import struct

from tensorboardX.proto import event_pb2


def read_scalars(folder):
    """(step, value) by name, as TensorBoard shows them.

    A file that says where it starts takes back what earlier ones hold from there on.
    """
    shown = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for event in events_of(path.read_bytes()):
            if event.session_log.status == event_pb2.SessionLog.START:
                for name, points in shown.items():
                    shown[name] = [p for p in points if p[0] < event.step]
            for value in event.summary.value:
                shown.setdefault(value.tag, []).append((event.step, value.simple_value))
    return shown


def events_of(raw):
    start = 0
    while start < len(raw):
        (length,) = struct.unpack_from("<Q", raw, start)
        yield event_pb2.Event.FromString(raw[start + 12 : start + 12 + length])
        start += 12 + length + 4
    assert start == len(raw), "the last record is cut"
