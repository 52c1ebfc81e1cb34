"""The token bucket of a lane's rate in SQL; `domain.lanes` says the same, and why it is so.

A bucket that is not there is empty. Claims are not flushed to disk, so a crash forgets what was
taken last; and with it, or with a promoted standby, all buckets, which are not logged.
"""

PACE_REFILL = """
CREATE OR REPLACE FUNCTION pace_refill(rate float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate * 0.75 >= 1 THEN rate ELSE 1 / (1 / rate + 0.25) END $$
"""

PACE_TOKENS = """
CREATE OR REPLACE FUNCTION pace_tokens(rate float8, tokens float8, filled_at float8, clock float8)
RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate IS NOT NULL
                  THEN least(greatest(1, rate * 0.75),
                             coalesce(tokens + pace_refill(rate) * greatest(0, clock - filled_at),
                                      0)) END $$
"""
