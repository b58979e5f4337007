"""A worker process, seen from the parent: start it, ask it, notice its death, leave no orphan."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from .channel import Channel

STDERR_LINES = 50
_TAIL_BYTES = 65536
_GRACE_S = 5.0


class WorkerDiedError(Exception):
    """The process ended before it answered.

    Attributes:
        returncode: As `subprocess` tells it, negative for a signal.
        stderr_tail: Its last 50 lines of output.
    """

    def __init__(self, returncode: int, stderr_tail: list[str]) -> None:
        self.returncode = returncode
        self.stderr_tail = stderr_tail
        super().__init__(f"the worker {self.cause}")

    @property
    def cause(self) -> str:
        """How the process ended, in words."""
        if self.returncode >= 0:
            return f"exited with code {self.returncode}"
        try:
            name = signal.Signals(-self.returncode).name
        except ValueError:
            name = f"signal {-self.returncode}"
        return f"was ended by {name}"


class WorkerHungError(Exception):
    """The process did not answer in time and was killed.

    Attributes:
        stderr_tail: Its last 50 lines of output.
    """

    def __init__(self, message: str, stderr_tail: list[str]) -> None:
        self.stderr_tail = stderr_tail
        super().__init__(message)


class WorkerBabbledError(Exception):
    """The process wrote something else than an answer to its pipe and was killed.

    Attributes:
        stderr_tail: Its last 50 lines of output.
    """

    def __init__(self, stderr_tail: list[str]) -> None:
        self.stderr_tail = stderr_tail
        super().__init__("the worker wrote something that is no answer to its pipe")


class Worker:
    """A fresh Python process in its own process group, which answers one request at a time.

    Its stdout and stderr go to a file without a name, so whatever it prints disturbs no answer.

    Args:
        environment: Variables set besides those of this process.
        module: What the process runs; it gets the numbers of its two pipe ends as arguments.
    """

    def __init__(self, environment: Mapping[str, str], *, module: str = f"{__package__}.worker") -> None:
        child_read, parent_write = os.pipe()
        parent_read, child_write = os.pipe()
        self._output = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the worker
        # Before Python 3.11 only an empty working directory keeps a stray module from shadowing a real one.
        self._folder = None if sys.version_info >= (3, 11) else tempfile.mkdtemp(prefix="linbench-")
        command = [sys.executable, *(["-P"] if self._folder is None else []), "-m", module]
        try:
            self._process = subprocess.Popen(
                [*command, str(child_read), str(child_write)],
                env={**os.environ, **environment},
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=self._output,
                stderr=self._output,
                pass_fds=(child_read, child_write),
                start_new_session=True,
            )
        finally:
            os.close(child_read)
            os.close(child_write)
        self._channel = Channel(parent_read, parent_write)
        self._closed = False

    @property
    def pid(self) -> int:
        """Process number, which is also that of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether it can still be asked."""
        return not self._closed and self._process.poll() is None

    def ask(self, request: Mapping[str, Any], *, timeout_s: float) -> dict[str, Any]:
        """Send `request` and sleep until the answer is there.

        Raises:
            WorkerDiedError: The process ended instead.
            WorkerHungError: It gave no answer within `timeout_s`; it is dead now.
            WorkerBabbledError: It gave something else; it is dead now.
        """
        try:
            self._channel.send(request)
            return self._channel.receive(timeout_s)
        except TimeoutError as error:
            tail = self._stop()
            raise WorkerHungError(str(error), tail) from error
        except (EOFError, BrokenPipeError) as error:
            tail = self._stop(grace_s=_GRACE_S)
            raise WorkerDiedError(self._process.returncode, tail) from error
        except ValueError as error:
            raise WorkerBabbledError(self._stop()) from error

    def close(self) -> None:
        """End the process: it may leave by itself, and is killed when it does not."""
        if not self._closed:
            self._channel.close()
            self._stop(grace_s=_GRACE_S)

    def kill(self) -> None:
        """Kill the process and everything it started."""
        if not self._closed:
            self._stop()

    def _stop(self, grace_s: float = 0.0) -> list[str]:
        self._closed = True
        if grace_s:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        # The group outlives its leader while a grandchild runs, so it is killed in any case.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._channel.close()
        tail = self._tail()
        self._output.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        return tail

    def _tail(self) -> list[str]:
        size = self._output.seek(0, os.SEEK_END)
        self._output.seek(max(0, size - _TAIL_BYTES))
        return self._output.read().decode(errors="replace").splitlines()[-STDERR_LINES:]
