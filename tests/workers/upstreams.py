"""A surface of each adapter that calls an upstream, and the words its upstream says to a question.

They are written as an operator writes them; `@` stands for where the upstream is. Whatever can
carry a secret of the operator's or the client's carries `SECRET`.
"""

import json
from collections.abc import Awaitable, Callable
from html import escape
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import msgspec
from aiohttp import web

from orchestrator import configuration
from orchestrator.configuration import Configuration
from orchestrator.domain.addresses import networks
from tests.workers.fakes import FAKES
from tests.workers.fakes.saying import MODEL, Fake, Said
from workers.adapters import base

SECRET = "key-1"
_PAGE = ("https://a.example/", "A")
Body = dict[str, Any] | str


class Upstream(NamedTuple):
    """`options` in TOML; `words` are those of a request, `said` what a reply to them is.

    `asked` are the fields of a request that bring the words, `error` is the body of one that fails.
    Where it is `strict` not every body is a reply, where it is `whole` a reply is read to its end
    or not at all.
    """

    options: str
    words: Callable[[web.Request], Awaitable[str]]
    said: Callable[[str], Body]
    asked: Callable[[str, str], dict[str, Any]] = lambda _, words: {"query": words}
    kind: str = "text/plain"
    error: str = SECRET
    strict: bool = False
    whole: bool = True

    def reply(self, words: str) -> bytes:
        """The body of a reply."""
        body = self.said(words)
        return (body if isinstance(body, str) else json.dumps(body)).encode(errors="replace")

    def request(self, url: str, words: str = "best tea", **changes: Any) -> base.CaptureRequest:
        """A request that brings these words to the upstream."""
        fields = {"child": "job_1.s.gb", "surface": "s", "country": "GB"}
        return base.CaptureRequest(**fields | self.asked(url, words) | changes)


def _answering(fake: Fake) -> Upstream:
    async def words(request: web.Request) -> str:
        return fake.query_of(await request.json())

    def said(words: str) -> Body:
        pieces = ((words, (_PAGE,)), ("\n\nMore of it.", ()))
        return fake.tell(Said(pieces, found=(_PAGE,), queries=("tea",))).reply

    extra = ".".join(("extra_body", *fake.extra))
    ((name, _),) = next(iter(fake.extra.values())).items()
    return Upstream(
        options=f"model = '{MODEL}'\napi_key = '{SECRET}'\nbase_url = '@'\n"
        f"{extra}.{name} = '{{country}}'",
        words=words,
        said=said,
        kind="application/json",
        error=json.dumps(fake.error(401, SECRET)),
        strict=True,
    )


async def _query(request: web.Request) -> str:
    return request.query["q"]


async def _path(request: web.Request) -> str:
    return unquote(request.path.removeprefix("/"))


async def _posted(request: web.Request) -> str:
    return (await request.json())["query"]


def _html(words: str) -> str:
    return f"<html><body><h1>{words}</h1><a href=/x>x</a></body></html>"


def _feed(words: str) -> str:
    title = escape(words.replace("\0", ""))  # which no XML can say
    entry = f"<title>{title}</title><link>/x</link><description>More of it.</description>"
    return f'<rss version="2.0"><channel><title>c</title><item>{entry}</item></channel></rss>'


def _sent(words: str) -> Body:
    links = ["https://a.example/", {"url": "https://b.example/", "title": words}]
    return {"text": words, "links": links}


_HTTP = f"url = '@/?q={{query}}&gl={{country}}&key={SECRET}'\nheaders = {{x-key = '{SECRET}'}}\n"
UPSTREAMS: dict[str, Upstream] = {
    **{name: _answering(fake) for name, fake in FAKES.items()},
    "http json": Upstream(
        _HTTP + "text = 'text'\nsources = 'links'",
        *(_query, _sent),
        kind="application/json",
        strict=True,
    ),
    "http html": Upstream(_HTTP + "format = 'html'", _query, _html, kind="text/html"),
    "http text": Upstream(_HTTP + "format = 'text'", _query, str),
    "http feed": Upstream(
        _HTTP + "format = 'feed'", _query, _feed, kind="application/rss+xml", strict=True
    ),
    "page": Upstream(
        f"robots = false\n[surfaces.s.regions.GB]\nheaders = {{x-key = '{SECRET}'}}",
        *(_path, _html),
        asked=lambda url, words: {"query": f"{url}/{quote(words, errors='replace')}?k={SECRET}"},
        kind="text/html",
    ),
    "webhook": Upstream(
        *("", _posted, str),
        asked=lambda url, words: {
            "query": words,
            "options": {"url": f"{url}/?k={SECRET}", "payload": {"key": SECRET}},
        },
        whole=False,
    ),
}


def adapter_of(name: str) -> str:
    """`http` of `http json`."""
    return name.partition(" ")[0]


def load(path: Path, adapter: str, options: str, url: str) -> Configuration:
    """The file of an operator whose surface `s` has these options."""
    text = f"[surfaces.s]\nadapter = '{adapter}'\n[surfaces.s.options]\n{options}\n"
    path.write_text(text.replace("@", url))
    return configuration.load(path, reachable=networks("127.0.0.1"))


def changed(loaded: Configuration, *, seconds: float, **options: Any) -> Configuration:
    """The same, its surface given as many seconds, and these options too."""
    config = loaded.surfaces["s"]
    surface = msgspec.structs.replace(
        config, timeout_seconds=seconds, options=config.options | options
    )
    return msgspec.structs.replace(loaded, surfaces=loaded.surfaces | {"s": surface})
