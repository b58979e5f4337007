"""Bytes in words. Importing it imports no torch."""

from __future__ import annotations

UNITS = ("bytes", "KiB", "MiB", "GiB")


def size_text(count: int) -> str:
    """A number of bytes in the largest unit that leaves at least 1, up to GiB."""
    value, unit = float(count), 0
    while value >= 1024 and unit < len(UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:,.1f} {UNITS[unit]}" if unit else f"{count} bytes"
