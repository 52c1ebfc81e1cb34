"""Tables and statements.

Every function takes an open connection; its caller owns the transaction. SQL is static text beside
the one function that runs it. The rules that keep the statements exact and free of deadlocks:

* One lock order: advisory lock → `parent` by id → `child` by (parent, ordinal) → `lane`
  by id → `usage` by key → `backlog`, `inflight` by key → `lane_load` by lane. The counters are
  locked by the triggers of `counters`, sorted, `usage` first; at most one counter statement a
  transaction.
* Claim and fan-out each run under an advisory lock that is taken by a statement of its own, before:
  the snapshot of the next statement then sees all that the previous holder committed.
* What is picked is picked `FOR NO KEY UPDATE SKIP LOCKED` with its state repeated; the change is
  driven by the pick, an insert by the change's RETURNING.
* Claimed work is changed only under its fence (parent, ordinal, claim token).
* A parent's roll-up is `done = done + n` in the statement that settles, never a recount.
"""
