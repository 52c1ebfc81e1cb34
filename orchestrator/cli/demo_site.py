"""A small real web site on loopback for the demo: a search in JSON, and the pages it finds."""

import html
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, quote, unquote, urlsplit

PAGES = {
    "fit": "How a shoe should fit",
    "trail": "Road or trail",
    "wear": "When to replace a pair",
}
GREETINGS = {"DE": "Guten Tag", "FR": "Bonjour", "GB": "Good day", "US": "Hello"}


@contextmanager
def site() -> Iterator[str]:
    """Serve the site while the context lasts; its base URL, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Page)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Page(BaseHTTPRequestHandler):
    """`/search?q=…&cc=…` answers JSON; `/pages/<name>` is HTML with links to the others."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answer one request."""
        address = urlsplit(self.path)
        name = unquote(address.path.removeprefix("/pages/"))
        if address.path == "/search":
            asked = {key: values[0] for key, values in parse_qs(address.query).items()}
            body = json.dumps(found(self._base(), asked.get("q", ""), asked.get("cc", "")))
            self._send(200, "application/json", body)
        elif name in PAGES:
            self._send(200, "text/html; charset=utf-8", page(name))
        else:
            self._send(404, "text/plain", "No such page.")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Say nothing: the demo tells the story."""

    def _base(self) -> str:
        return f"http://{self.headers['Host']}"

    def _send(self, status: int, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def found(base: str, query: str, country: str) -> dict[str, object]:
    """The search's answer: a sentence, and the pages as results."""
    greeting = GREETINGS.get(country, "Hello")
    text = f"{greeting}! {len(PAGES)} pages of this site answer “{query}”, as seen from {country}."
    links = [{"link": f"{base}/pages/{quote(name)}", "title": PAGES[name]} for name in PAGES]
    return {"answer": {"text": text}, "results": links}


def page(name: str) -> str:
    """One page as HTML, with links to the others."""
    links = "".join(
        f'<li><a href="/pages/{quote(other)}">{html.escape(title)}</a></li>'
        for other, title in PAGES.items()
        if other != name
    )
    title = html.escape(PAGES[name])
    return (
        f'<!doctype html><html lang="en"><head><title>{title}</title></head>'
        f"<body><main><h1>{title}</h1><p>A page of the demo.</p><ul>{links}</ul></main></body>"
        "</html>"
    )
