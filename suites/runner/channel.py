"""Messages between a sleeping parent and its workers: JSON lines through two pipes."""

from __future__ import annotations

import json
import os
import select
from collections.abc import Mapping
from typing import Any

_CHUNK = 65536


class Channel:
    """One end of a pair of pipes; closes both file descriptors when it is closed.

    Args:
        read_fd: Pipe that messages come from.
        write_fd: Pipe that messages go to.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._pending = b""
        self._poll = select.poll()
        self._poll.register(read_fd, select.POLLIN)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one message.

        Raises:
            BrokenPipeError: The other end is gone.
        """
        data = memoryview(json.dumps(message).encode() + b"\n")
        while data:
            data = data[os.write(self._write_fd, data) :]

    def receive(self, timeout_s: float | None = None) -> dict[str, Any]:
        """Sleep until one message is there.

        Raises:
            TimeoutError: None came within `timeout_s` of the last byte.
            EOFError: The other end is gone.
            ValueError: What came is no message.
        """
        while b"\n" not in self._pending:
            if not self._poll.poll(None if timeout_s is None else 1000 * timeout_s):
                raise TimeoutError(f"no answer within {timeout_s:g} s")
            data = os.read(self._read_fd, _CHUNK)
            if not data:
                raise EOFError("the other end closed the pipe")
            self._pending += data
        line, self._pending = self._pending.split(b"\n", 1)
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"expected a message, got {line[:40]!r}")
        return message

    def close(self) -> None:
        """Close both pipes; the other end sees the end of the file."""
        for fd in (self._read_fd, self._write_fd):
            if fd >= 0:
                os.close(fd)
        self._read_fd = self._write_fd = -1
