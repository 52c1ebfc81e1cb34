"""Memory: what this process has, and what it may have."""

import os
import sys
from pathlib import Path

from orchestrator.errors import SUPERVISED
from orchestrator.settings import LEAST_MEMORY_BYTES

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_RESIDENT = Path("/proc/self/statm")
_CGROUP = Path("/sys/fs/cgroup/memory.max")
_SHARE = 2
"""The workers of a supervisor may have one part in so many of what there is."""


def resident_bytes() -> int:
    """What this process has in memory now; 0 where the system does not tell (Linux does)."""
    try:
        return int(_RESIDENT.read_text().split()[1]) * _PAGE_BYTES
    except OSError:
        return 0


def allowed_bytes() -> int:
    """What this process may have: its share of half of the memory there is for us.

    That is the machine's, or what its control group may have.
    """
    there_is = min(os.sysconf("SC_PHYS_PAGES") * _PAGE_BYTES, _granted())
    return max(LEAST_MEMORY_BYTES, there_is // (_SHARE * _workers()))


def _workers() -> int:
    """As many as its supervisor keeps; one that has none is alone, as far as it can know."""
    return max(1, int(os.environ.get(SUPERVISED, "1")))


def _granted() -> int:
    try:
        return int(_CGROUP.read_text())
    except (OSError, ValueError):  # there is none, or it says `max`
        return sys.maxsize
