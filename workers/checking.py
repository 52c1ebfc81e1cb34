"""`python -m workers check [NAME …]`: each surface asked once, live, and what it answered."""

import argparse
import asyncio
import sys
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec
import uvloop

from orchestrator import configuration, observability, settings
from orchestrator.domain.envelope import Capture, Failure
from orchestrator.errors import ConfigError
from workers import serving
from workers.adapters import base, discovery
from workers.adapters.base import Adapter, CaptureRequest
from workers.errors import SurfaceError
from workers.execution import Served

QUESTION = "Which running shoes are best for wide feet?"
PAGE = "https://example.com/"
_WIDEST = 100


class Checked(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What came of a surface: `capture` is an Envelope without its job; null when it failed."""

    surface: str
    adapter: str
    country: str
    seconds: float
    capture: Capture | None = None
    error: Failure | None = None


class Asked(NamedTuple):
    """What is asked, and from where."""

    query: str | None
    country: str
    city: str | None
    language: str | None


def main(arguments: Sequence[str]) -> int:
    """0 when every surface answered, 1 when one did not or cannot be used as it is configured."""
    given = _arguments(arguments)
    try:
        here = settings.load()
        observability.configure(here)
        configured = configuration.load(here.config, reachable=here.allow_networks)
        served = serving.served(configured, given.names)
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who asked
        return 1
    country = given.country or here.default_country
    asked = Asked(given.query, country.upper(), given.city, given.language)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        checked = runner.run(check(served, asked))
    for line in _told(checked, as_json=given.json, whole=bool(given.names)):
        print(line)  # noqa: T201 - the answer
    return int(any(one.error for one in checked))


async def check(served: Mapping[str, Served], asked: Asked) -> list[Checked]:
    """Each surface that can be asked without more being said, asked once; all at the same time."""
    able = {name: one for name, one in served.items() if not _demanding(one.adapter)}
    try:
        return list(await asyncio.gather(*(_one(*named, asked) for named in able.items())))
    finally:
        for one in served.values():
            await one.adapter.close()


async def _one(name: str, served: Served, asked: Asked) -> Checked:
    countries = discovery.describe(served.config, served.adapter).countries
    country = asked.country
    if countries is not None and country not in countries:
        country = countries[0]
    request = CaptureRequest(
        child=f"check.{name}",
        query=asked.query or (PAGE if _of_pages(served.adapter) else QUESTION),
        surface=name,
        country=country,
        city=asked.city,
        language=asked.language,
    )
    capture, failure = None, None
    begun = time.monotonic()
    try:
        seconds = served.config.timeout_seconds
        capture = (await base.run(served.adapter, request, timeout_seconds=seconds)).capture
    except SurfaceError as error:
        failure = Failure(code=error.code, message=error.message, retryable=not error.permanent)
    return Checked(
        surface=name,
        adapter=served.config.adapter,
        country=country,
        seconds=round(time.monotonic() - begun, 3),
        capture=capture,
        error=failure,
    )


def _told(checked: Sequence[Checked], *, as_json: bool, whole: bool) -> list[str]:
    if as_json:
        return [msgspec.json.format(msgspec.json.encode(checked), indent=2).decode()]
    lines = [_line(one) for one in checked]
    if whole:
        lines += [
            msgspec.json.format(msgspec.json.encode(one.capture), indent=2).decode()
            for one in checked
            if one.capture
        ]
    return lines


def _line(one: Checked) -> str:
    head = f"{one.surface} ({one.adapter}, {one.country}, {one.seconds:.1f} s): "
    if one.error is not None:
        return f"{head}FAILED: {one.error.code}: {one.error.message}"
    if one.capture is None or not one.capture.provenance.surface_present:
        return f"{head}ok, and showed nothing"
    words = " ".join(one.capture.answer.text.split())
    shown = words if len(words) <= _WIDEST else f"{words[:_WIDEST]}…"
    return f"{head}ok, {len(one.capture.evidence.sources)} sources: {shown}"


def _demanding(adapter: Adapter) -> bool:
    """Whether nobody can ask it without options: it calls what a job names."""
    return bool(adapter.options_schema.get("required"))


def _of_pages(adapter: Adapter) -> bool:
    return bool(getattr(adapter, "query_schema", {}).get("format") == "uri")


def _arguments(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m workers check", description="Ask each surface once, live."
    )
    parser.add_argument("names", nargs="*", help="only these; their captures are shown whole")
    parser.add_argument("--query", help="what to ask")
    parser.add_argument("--country", help="as seen from where; PARALLAX_DEFAULT_COUNTRY")
    parser.add_argument("--city")
    parser.add_argument("--language")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    return parser.parse_args(given)
