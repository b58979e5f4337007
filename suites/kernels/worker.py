"""The worker process of one implementation: `python -m linbench.suites.kernels.worker READ_FD WRITE_FD`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from ..runner.worker import main

if TYPE_CHECKING:
    from .session import Session


class Server:
    """Turns requests into calls of the one session of this process."""

    def __init__(self) -> None:
        self._session: Session | None = None

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Serve `build` (first), then any public method of the session by its name."""
        operation, arguments = request["op"], {name: value for name, value in request.items() if name != "op"}
        if operation == "build":
            started = time.perf_counter()
            from .session import Session

            import_s = time.perf_counter() - started
            self._session = Session(**arguments)
            return {"import_s": import_s, **self._session.facts()}
        if self._session is None:
            raise RuntimeError("the session is not built")
        return getattr(self._session, operation)(**arguments) or {}


if __name__ == "__main__":
    main(Server().answer)
