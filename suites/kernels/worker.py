"""The worker process of one implementation: `python -m linbench.suites.kernels.worker READ_FD WRITE_FD`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..runner.worker import Server, main

if TYPE_CHECKING:
    from .session import Session


def load() -> type[Session]:
    """Import torch and the operators."""
    from .session import Session

    return Session


if __name__ == "__main__":
    main(Server(load).answer)
