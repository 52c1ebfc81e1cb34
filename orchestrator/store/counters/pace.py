"""The token bucket of a lane's rate in SQL; `domain.lanes` says the same, and why it is so.

A bucket last filled before the server started is empty as of then: claims are not flushed to disk,
so that a crash forgets what was taken last.
"""

PACE_REFILL = """
CREATE OR REPLACE FUNCTION pace_refill(rate float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate * 0.75 >= 1 THEN rate ELSE 1 / (1 / rate + 0.25) END $$
"""

PACE_TOKENS = """
CREATE OR REPLACE FUNCTION pace_tokens(rate float8, tokens float8, filled_at float8, clock float8,
                                       started float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN rate IS NOT NULL
                  THEN least(greatest(1, rate * 0.75),
                             CASE WHEN filled_at > started THEN tokens ELSE 0 END
                             + pace_refill(rate)
                               * greatest(0, clock - greatest(started, filled_at))) END $$
"""
