"""A worker process, seen from inside: `main` in a module that is run with two pipe ends as its arguments.

Answers requests `{"op": ...}` one at a time until the parent closes the pipe; an error becomes an answer as well.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .channel import Channel
from .failures import describe

Respond = Callable[[dict[str, Any]], dict[str, Any]]


class Server:
    """Turns requests into calls of the one session of this process.

    Args:
        load: Imports what the session needs and returns its class, which gets the arguments of `build`.
    """

    def __init__(self, load: Callable[[], Callable[..., Any]]) -> None:
        self._load = load
        self._session: Any = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve `build` (first), then any public method of the session by its name."""
        operation, arguments = request["op"], {name: value for name, value in request.items() if name != "op"}
        if operation == "build":
            started = time.perf_counter()
            session = self._load()
            import_s = time.perf_counter() - started
            self._session = session(**arguments)
            return {"import_s": import_s, **self._session.facts()}
        if self._session is None:
            raise RuntimeError("the subject is not built")
        return getattr(self._session, operation)(**arguments) or {}


def serve(channel: Channel, respond: Respond) -> None:
    """Answer until the other end is gone."""
    with contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            request = channel.receive()
            try:
                answer: dict[str, Any] = {"status": "ok", **respond(request)}
            except Exception as error:
                traceback.print_exc()
                answer = describe(error)._asdict()
            channel.send(answer)


def _prefer_as_victim() -> None:
    # When memory runs out the kernel should take this process, not the parent that keeps the results.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("900", encoding="ascii")


def main(respond: Respond) -> None:
    """Serve on the two pipe ends named on the command line, in a process that an out-of-memory killer takes first."""
    read_fd, write_fd = int(sys.argv[1]), int(sys.argv[2])
    for fd in (read_fd, write_fd):
        os.set_inheritable(fd, False)
    _prefer_as_victim()
    serve(Channel(read_fd, write_fd), respond)
