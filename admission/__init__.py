"""May this come in, and does it hold a place?

A **place** is room in the bounded admission queue of an API key. A parent takes one place
whatever its matrix, and holds it until it leaves the queue (fans out) or ends there. The
**depth** of a key is the number of places taken; it never passes the key's **queue capacity**,
for any interleaving over any number of processes:

* the only door is `gate.Gate`; it locks the key's `usage` row, decides on what the lock returned
  (`policy.decide`, pure), and records what fits in the same transaction;
* how many parents wait is kept by the database, in statement triggers on the parents' table, so
  that no code path can forget it;
* a **reservation** holds places for submissions to come. It is made and drawn on under the same
  lock, and counts until it is drawn or its time is over: nobody has to free it;
* concurrent requests of one process share a transaction (`batches.Batcher`): one lock, one insert,
  one flush to disk for all of them, and no timer. In it each meets what those before it took
  (`deciding.Deciding` over `places.Places`, pure): also the idempotency keys of one batch;
* whoever needs places in a transaction of their own (a retry) takes them by `gate.enter`.

This package knows no jobs: parents are opaque entries, demands are numbers.
"""
