"""The `parallax.toml` to begin with: what the keys of an environment open, the rest as comments.

A line that begins with `#` and no space is configuration that is switched off.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from orchestrator.domain import known

MODELS: Mapping[str, str] = {
    "openai": "gpt-6.1-terra",
    "anthropic": "claude-sonnet-5-5",
    "perplexity": "sonar",
    "gemini": "gemini-3.8-flash",
    "xai": "grok-4.7",
}
"""Of each adapter: one in the middle of what its provider has, with a published price."""
_HEAD = """\
# What Parallax captures from. A line that begins with # and no space is switched off.
#
# Keys stay in the environment: providers' adapters and presets look for theirs there, and
# "${NAME}" in options, or in the proxy and the headers of a region, is filled in from it.
#
#   parallax surfaces check     asks each surface once, live
#   parallax up                 serves them
"""
_TAIL = """
# The page whose URL is the query. What is switched off here, any surface may say.
[surfaces.page]
adapter = "page"
#timeout = "30s"                        # of an attempt
#attempts = 4
#concurrency = 100                      # captures of one country at once, over all workers
#rate = "50/s"                          # of one country's starts, also "600/min" or "0.5/h"
#credits = 1                            # what a capture costs a key that has credits
#coalesce = "10m"                       # how long one capture is good for identical cells
#raw = true                             # keep the upstream's own words in the Envelope
#mentions = ["Acme"]                    # names looked for in what is captured
#countries = ["US", "GB"]               # where it may be asked from; any, if this is absent
#[surfaces.page.regions.GB]             # what one country does differently
#proxy = "http://127.0.0.1:3128"
#headers = {"X-Geo" = "gb"}
#locale = "en-GB"                       # the language of who is there, if a job names none
#concurrency = 5
#rate = "5/s"

# Any API that answers in JSON: where its answer has what is a JMESPath (https://jmespath.org).
#[surfaces.search]
#adapter = "http"
#[surfaces.search.options]
#url = "https://api.example.com/search?q={query}&country={country}"
#headers = {Authorization = "Bearer ${SEARCH_API_KEY}"}
#text = "answer.text"
#sources = "results[].{url: link, title: title}"
"""


_WRITTEN = {"DATAFORSEO_AUTH": " (login:password, in base64)"}


class FirstFile(NamedTuple):
    """The text, the surfaces that are switched on in it, and the variables that the others want."""

    text: str
    surfaces: tuple[str, ...]
    wanting: Mapping[str, tuple[str, ...]]


class _Way(NamedTuple):
    """A way to capture a surface: the variable of its key, and what the file says."""

    variable: str
    lines: tuple[str, ...]


def written(environment: Mapping[str, str]) -> FirstFile:
    """The file for this environment."""
    parts, surfaces = [], []
    wanting: dict[str, tuple[str, ...]] = {}
    for surface in (*known.ADAPTERS, *known.PRESETS):
        ways = tuple(_ways(surface))
        found = next((way for way in ways if environment.get(way.variable)), None)
        parts.append(_part(ways, found))
        if found:
            surfaces.append(surface)
        else:
            wanting[surface] = tuple(way.variable for way in ways)
    return FirstFile("\n".join((_HEAD, *parts)) + _TAIL, (*surfaces, "page"), wanting)


def _ways(surface: str) -> Iterator[_Way]:
    if adapter := known.ADAPTERS.get(surface):
        yield _Way(
            known.KEYS[adapter],
            (
                f"[surfaces.{surface}]",
                f'adapter = "{adapter}"',
                'timeout = "2m"                          # an answer with a search takes its time',
                f"[surfaces.{surface}.options]",
                f'model = "{MODELS[adapter]}"',
            ),
        )
    for preset in known.PRESETS.get(surface, ()):
        yield _Way(
            known.KEYS[known.service(preset)],
            (
                f"[surfaces.{surface}]",
                'adapter = "http"',
                'timeout = "60s"',
                f"[surfaces.{surface}.options]",
                f'preset = "{preset}"',
            ),
        )


def _part(ways: tuple[_Way, ...], found: _Way | None) -> str:
    """A surface by the way that is open, or switched off by the first; the others are named."""
    way = found or ways[0]
    lines = [f"# The key: {_named(way)}{'' if found else ', which is not set'}."]
    lines += [f"# Or {other.lines[-1]} with {_named(other)}." for other in ways if other is not way]
    lines += way.lines if found else [f"#{line}" for line in way.lines]
    return "\n".join(lines) + "\n"


def _named(way: _Way) -> str:
    return way.variable + _WRITTEN.get(way.variable, "")
