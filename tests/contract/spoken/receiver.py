"""Somebody on loopback whom the server calls: remembers every call, answers by the path's end."""

import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple


class Call(NamedTuple):
    """A call that came: its headers by lower-case name, and its body."""

    headers: dict[str, str]
    body: str


class Receiver:
    """`…/broken` is answered 500, `…/slow` not before the end, everything else 204."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: defaultdict[str, list[Call]] = defaultdict(list)
        self.over = threading.Event()

    def status(self, path: str) -> HTTPStatus:
        if path.endswith("/slow"):
            self.over.wait()
        broken = path.endswith("/broken")
        return HTTPStatus.INTERNAL_SERVER_ERROR if broken else HTTPStatus.NO_CONTENT


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver in threads of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            receiver.calls[self.path].append(Call(headers, body))
            self.send_response(receiver.status(self.path))
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.block_on_close = True, False
        receiver = Receiver(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield receiver
        finally:
            receiver.over.set()
            server.shutdown()
            thread.join()
