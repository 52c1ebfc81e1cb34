"""Decayed counts: how fast parents leave a queue, without a history of it.

Each parent that left weighs e^(-age / 30 s), so at a steady rate r their sum is 30 r once counting
has gone on for a while, and 30 r (1 - e^(-t / 30 s)) when it began t seconds ago. What is next to
nothing is nothing: decayed on and on it would underflow, an error in PostgreSQL.
"""

DECAYED = """
CREATE OR REPLACE FUNCTION decayed(n float8, since float8, clock float8) RETURNS float8
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0)) ELSE 0 END $$
"""

DRAIN_RATE = """
CREATE OR REPLACE FUNCTION drain_rate(n float8, since float8, began float8, clock float8)
RETURNS float8 LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN n > 1e-9
                  THEN n * exp(greatest(-500, least(0, since - clock) / 30.0))
                       / (30.0 * (1 - exp(-least(500, greatest(3, clock - began)) / 30.0)))
                  ELSE 0 END $$
"""
