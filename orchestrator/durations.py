"""Durations as people write them: `"30s"`, `"500ms"`, `"2m"`, or a number of seconds."""

import re
from typing import Any

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(written: Any) -> float:
    """The duration in seconds; ValueError says how to write one."""
    if isinstance(written, int | float) and not isinstance(written, bool):
        return float(written)
    match = _WRITTEN.fullmatch(written) if isinstance(written, str) else None
    if match is None:
        raise ValueError('write a duration as "500ms", "30s", "2m" or a number of seconds')
    return float(match[1]) * _SECONDS[match[2]]
