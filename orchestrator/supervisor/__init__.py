"""`parallax up`: the database, the API processes and the workers, kept running until told to stop.

The supervisor has one thread and one loop (`loop.py`). It opens the listening socket, takes its
share in the embedded PostgreSQL when no database is configured, migrates, and starts everything
else as child processes. What dies is started again after a growing pause. A child that ends with
78 (EX_CONFIG of sysexits.h) has said that the configuration is broken: everything stops, exit 1.

SIGTERM, SIGINT or SIGHUP stop everything: workers and API processes are told together (an API
process closes its door and lets the requests it has wait for the answers that the draining workers
still bring), the embedded PostgreSQL last. A second signal does not wait.

SIGUSR2 renews everything that is supervised, one process after the other: another one is started,
says over a pipe that it is there, takes the place of the old one, and that one drains. They read
`parallax.toml` and the code anew; the supervisor, the environment and the schema stay. A new
process that does not come up is given up, and the old ones stay (`process.not_renewed`).

Nothing survives the supervisor, even killed with `-9`: the kernel then tells each child SIGTERM
(PR_SET_PDEATHSIG), and the children inherit the share in the embedded PostgreSQL, so that it stops
when the last of them has drained.
"""

from orchestrator.supervisor.up import run

__all__ = ["run"]
