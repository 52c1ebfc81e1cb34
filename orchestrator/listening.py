"""The listening socket: opened once by `parallax up` and inherited by each API process.

One socket shared by all loses no connection when a process dies (another accepts what waits; with
SO_REUSEPORT each has a queue of its own, reset with it), reports a taken port before anything
starts, and lets port 0 mean the same free port for every process.
"""

import os
import socket

from orchestrator.errors import ParallaxError

DESCRIPTOR = "PARALLAX_LISTEN_FD"
"""The variable by which an API process finds the socket it inherited (set by the supervisor)."""

BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket (port 0: any free one); `ParallaxError` says why there is none."""
    try:
        family, _, _, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        return socket.create_server(address[:2], family=family, backlog=BACKLOG)
    except OSError as error:
        raise ParallaxError(
            f"Cannot listen on {host} port {port}: {error.strerror}. Choose another with --port."
        ) from error


def inherited() -> socket.socket | None:
    """The socket the supervisor opened for us; None when nobody supervises this process."""
    descriptor = os.environ.get(DESCRIPTOR)
    return None if descriptor is None else socket.socket(fileno=int(descriptor))


def url(listening: socket.socket) -> str:
    """Where a client on this machine reaches the socket."""
    host, port = listening.getsockname()[:2]
    local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 -- read, not bound
    return f"http://[{local}]:{port}" if ":" in local else f"http://{local}:{port}"
