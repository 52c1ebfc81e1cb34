"""A PostgreSQL of our own, for whoever has none: real server binaries out of a wheel.

**Layout.** `<data_dir>/postgres` is the cluster, `postgres.log` its log, `run/` three lock files.
The server listens on a Unix socket only, inside the cluster's 0700 directory (or, where that path
is too long for a socket, in a directory of its own under `/tmp`).

**Sharing.** Who uses the server holds a *shared* `flock` on `run/users` for as long as it does;
the server lives exactly as long as somebody holds it. The kernel keeps the count, so a user killed
with `-9` leaves at once and no list of process ids can go stale. `run/start` is held while somebody
starts or leaves, so two commands started together end up with one server. `run/server` is locked
by an open file that the server and each of its backends inherit: while it is locked something of
the old server is still alive, and only when it is free may a new one start (or a stale
`postmaster.pid`, whose number may by now belong to somebody else, be cleared away).

**Stopping.** The last user to leave stops the server and waits for it. Users that could not say
goodbye are what the *guardian* is for: a small process of its own session, the server's parent.
It waits for the *exclusive* lock on `run/users`, which it gets when the last user is gone, and
stops the server; it starts again a server that was killed while it is wanted; and if it is killed
itself, the kernel tells the server to shut down. So neither data nor processes are left hanging
whoever dies in whatever order.

**Accounts.** PostgreSQL refuses to run as root. As root the server runs as the owner of an
existing cluster, or as a system user made for it. That user is let through (search permission,
nothing else) the directories on the way to the data and the binaries, by an access control entry
for it alone: `/root` stays closed to everybody else.
"""

from orchestrator.embedded.server import DATABASE, Embedded, start

__all__ = ["DATABASE", "Embedded", "start"]
