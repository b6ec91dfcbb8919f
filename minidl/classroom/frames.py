"""Frames: messages of codec.py in a pipe. A frame is a header with a number and lengths, then a message."""

from __future__ import annotations

import struct
from typing import BinaryIO

from minidl.classroom.codec import ARRAY_BYTES, TEXT_BYTES, Malformed
from minidl.engine.checks import require

MAGIC = b"mdl1"
HEAD = struct.Struct(">4sIQQ")  # magic, number of the message, bytes of JSON, bytes of arrays


def send(pipe: BinaryIO, number: int, message: tuple[bytes, bytes]) -> None:
    text, arrays = message
    pipe.write(HEAD.pack(MAGIC, number, len(text), len(arrays)) + text + arrays)
    pipe.flush()


def receive(pipe: BinaryIO) -> tuple[int, bytes, bytes]:
    """The number, the JSON and the arrays of the next frame. Raises EOFError at the end, or Malformed."""
    head = read_whole(pipe, HEAD.size)
    magic, number, text, arrays = HEAD.unpack(head)
    is_answer = magic == MAGIC and text <= TEXT_BYTES and arrays <= ARRAY_BYTES
    require(is_answer, "something else than an answer was written to the checker", Malformed)
    return number, read_whole(pipe, text), read_whole(pipe, arrays)


def read_whole(pipe: BinaryIO, size: int) -> bytes:
    """Read ``size`` bytes. Only bytes that have arrived take memory, even if ``size`` is huge."""
    parts = []
    while size > 0:
        part = pipe.read(min(size, 2**20))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
