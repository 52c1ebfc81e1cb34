"""What a parent's row says by itself, in SQL: its state, and the credits it holds."""

# How the ends of its cells make the state of a parent; `domain.rollup` says the same.
ROLLED_UP = """
CREATE OR REPLACE FUNCTION rolled_up(state text, total int, done int, failed int, canceled int,
                                     expired int, finish int, cancel_asked bool) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE
        WHEN done < total THEN state
        WHEN done - failed - canceled - expired = total
             OR done - failed - canceled - expired >= finish THEN 'completed'
        WHEN done - failed - canceled - expired > 0 THEN 'partial'
        WHEN cancel_asked THEN 'canceled'
        WHEN failed > 0 THEN 'failed'
        WHEN expired > 0 THEN 'expired'
        ELSE 'canceled' END $$
"""

HELD = """
CREATE OR REPLACE FUNCTION held(finished_at timestamptz, estimated int, charged int) RETURNS int
LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS $$ SELECT CASE WHEN finished_at IS NULL THEN greatest(0, estimated - charged) ELSE 0 END $$
"""
