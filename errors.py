"""The errors that a user can mend. The command line prints them as one line and exits with their code."""

from __future__ import annotations


class LinBenchError(Exception):
    """Something went wrong that the message explains: what happened, what was expected, what to do next."""

    exit_code = 1


class UsageError(LinBenchError, ValueError):
    """A name, an option or a value that cannot be meant."""

    exit_code = 2


class ImageSizeError(UsageError):
    """Images of a size that this model cannot serve; another model may."""


class DataError(LinBenchError):
    """A data set or a file in it is missing, incomplete or unreadable."""


class WeightsError(LinBenchError):
    """A checkpoint is missing, unsafe, truncated or of another model."""


class BackendError(LinBenchError, RuntimeError):
    """A forced kernel backend cannot serve the call."""


class StoreError(LinBenchError):
    """A folder of LinBench's own (results, cache) cannot be written or read."""
