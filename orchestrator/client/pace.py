"""How often to look at a job that is being watched (pure)."""

SHORTEST = 0.25
LONGEST = 2.0


def pause(previous: float, *, changed: bool) -> float:
    """Seconds until the next look: short while things move, then half as long again up to 2 s.

    So a watcher costs at most 4 requests a second of its key's rate, and 30 a minute when idle.
    """
    return SHORTEST if changed else min(LONGEST, max(SHORTEST, previous * 1.5))
