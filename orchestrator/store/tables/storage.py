"""How tables that change all the time are stored."""

# Hot rows die young: vacuum by count, not by share, so that it comes as often for a large table.
BUSY = {
    "fillfactor": 70,
    "autovacuum_vacuum_scale_factor": 0.01,
    "autovacuum_vacuum_threshold": 5000,
    "autovacuum_analyze_scale_factor": 0.02,
    "autovacuum_vacuum_cost_delay": 0,
}
COUNTERS = {
    "fillfactor": 50,
    "autovacuum_vacuum_scale_factor": 0.0,
    "autovacuum_vacuum_threshold": 2000,
    "autovacuum_vacuum_cost_delay": 0,
}
# Written once and changed twice, each time in every index: room for a new version beside the old
# one would be in vain.
OUTBOX = {**BUSY, "fillfactor": 100}
