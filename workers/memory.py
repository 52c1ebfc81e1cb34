"""Memory: what this process has, and what it may have."""

import os
import sys
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_RESIDENT = Path("/proc/self/statm")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_SHARE = 2
"""A worker may have one part in so many of what there is."""


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not tell (Linux does)."""
    try:
        return int(_RESIDENT.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def allowed_bytes() -> int:
    """Half of the memory there is for us: the machine's, or what its control group may have."""
    return min(os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES, _granted()) // _SHARE


def _granted() -> int:
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):  # there is none, or it says `max`
        return sys.maxsize
