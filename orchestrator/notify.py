"""NOTIFY channels: a hint that something is there.

Every listener also polls, so a lost one costs a moment. A flush notifies at most once a channel,
inside its transaction.
"""

ADMITTED = "parallax_admitted"
"""Parents came into an admission queue: dispatchers may look."""

QUEUED = "parallax_queued"
"""Children became ready: runners may claim."""

STOPPED = "parallax_stopped"
"""Children that run were told to stop: their workers may look."""

ACTED = "parallax_acted"
"""Something was asked of a group, or of many deliveries: stewards may look."""

TOLD = "parallax_told"
"""Events came into the outbox: deliverers may look."""

ENDED = "parallax_ended"
"""Parents ended that callers wait for: their ids in hex, joined by commas; '' for too many."""

LARGEST_PAYLOAD = 7_900
"""PostgreSQL takes less than 8,000 bytes."""

POLL_SECONDS = 1.0
"""How long a lost notification can cost."""

NOTIFY = "SELECT pg_notify(%(channel)s, '')"
