"""A worker's slots, shared so that neither light nor heavy surfaces wait for the others."""

from collections.abc import Collection

HEAVY_PART = 4
"""Heavy surfaces get one slot in so many where light ones are served too."""


def least(weights: Collection[int]) -> int:
    """The fewest slots that have room for a child of each weight (slots a child takes)."""
    return sum(set(weights))


def shares(slots: int, weights: Collection[int]) -> dict[int, int]:
    """Children of each weight that run at once, at least one of each.

    Light ones (of weight 1) get what the heavy ones do not: a quarter of the slots, or all where
    there are no others, split evenly by weight. `slots` are at least `least(weights)`.
    """
    heavy = sorted(set(weights) - {1}, reverse=True)
    left = max(slots // HEAVY_PART, least(heavy)) if 1 in weights else slots
    running = {}
    for others, weight in zip(reversed(range(len(heavy))), heavy, strict=True):
        running[weight] = max(1, left // (others + 1) // weight)
        left -= running[weight] * weight
    if 1 in weights:
        running[1] = slots - sum(weight * n for weight, n in running.items())
    return running
