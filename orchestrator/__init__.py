"""What is a job, and how is it served?

The life of a parent::

    submitted ── admission (a place in its key's queue) ──▶ queued queued    ── fan-out (its key
    and each of its lanes has room) ──▶ processing, its children are born processing ── the last
    child's settle ──▶ completed | partial | failed | canceled | expired

The life of a child::

    queued ── claim (a token, the fence of all that follows) ──▶ processing
    processing ── settle ──▶ completed | failed
    processing ── settle, a transient failure ──▶ retrying ── stage, when due ──▶ queued
    processing ── rescue, its node died ──▶ queued, the attempt given back

Counters of all of it are kept by the database (`store.counters`); the snapshot, fairness and every
limit read them. Parents end in the statement that settles their last child: no sweeper decides it.
"""
