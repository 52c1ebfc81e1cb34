"""`python -m workers check [NAME …]`: each surface asked once, live, and what it answered."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from io import TextIOWrapper

import msgspec
import structlog
import uvloop
from pydantic import ValidationError

from orchestrator import configuration, observability, settings
from orchestrator.api.regions import RegionIn
from orchestrator.configuration import Configuration
from orchestrator.domain import queues
from orchestrator.domain.regions import Region
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings
from workers import captures, serving
from workers.asking import Asked, ask
from workers.checked import Checked, Skipped, lines
from workers.execution import Served

INTERRUPTED = 130
_log = structlog.get_logger()


def main(arguments: Sequence[str]) -> int:
    """0 when every surface answered, 1 when one did not or cannot be used as it is configured."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # an odd locale garbles, never stops
    given, region = _arguments(arguments)
    try:
        here = settings.load()
        observability.configure(here)
        served = serving.served(_configured(here), given.names)
        asked = Asked(given.query, region, here.default_country)
        return _checked(served, asked, as_json=given.json, named=frozenset(given.names))
    except ConfigError as error:
        _note(str(error))
        return 1
    except KeyboardInterrupt:
        return INTERRUPTED


async def check(
    served: Mapping[str, Served], asked: Asked, tell: Callable[[Checked | Skipped], None]
) -> None:
    """Ask all at the same time, and tell of each in their order, as soon as it has answered."""
    try:
        async with asyncio.TaskGroup() as group:
            for task in [group.create_task(ask(*named, asked)) for named in served.items()]:
                tell(await task)
    finally:
        for name, one in served.items():
            await _close(name, one)


async def _close(name: str, served: Served) -> None:
    try:
        await served.adapter.close()
    except Exception:  # noqa: BLE001 - somebody else's code
        _log.exception("adapter.broken", surface=name)


def _configured(here: Settings) -> Configuration:
    path = here.config or configuration.DEFAULT_FILE
    if not path.exists():
        raise ConfigError(
            f"there is no {path}, so no surface is real: `parallax init` writes one for the keys"
            " that are in the environment"
        )
    configured = configuration.load(path, reachable=here.allow_networks)
    if all(map(queues.is_queue, configured.surfaces)):
        raise ConfigError(
            f"{path} has queues and no surface: begin with [surfaces.<name>]; where there is no"
            " file yet, `parallax init` writes one with examples"
        )
    return configured


def _checked(
    served: Mapping[str, Served], asked: Asked, *, as_json: bool, named: frozenset[str]
) -> int:
    found: list[Checked] = []

    def tell(one: Checked | Skipped) -> None:
        if isinstance(one, Checked):
            found.append(one)
            if not as_json:
                _print(*lines(one, whole=bool(named)))
        elif one.surface in named or not queues.is_queue(one.surface):
            _note(f"{one.surface}: skipped: {one.reason}")

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(check(served, asked, tell))
        if as_json:
            _print(msgspec.json.encode(found).decode())
        code = int(any(one.error for one in found))
        if captures.abandoned():
            os._exit(code)  # all is said, and closing the loop would wait for them
    return code


def _print(*told: str) -> None:
    print(*told, sep="\n", flush=True)  # noqa: T201 - the answer


def _note(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - for the person who asked


def _arguments(given: Sequence[str]) -> tuple[argparse.Namespace, Region | None]:
    parser = argparse.ArgumentParser(
        prog="python -m workers check", description="Ask each surface once, live."
    )
    parser.add_argument("names", nargs="*", help="only these; their Envelopes are shown whole")
    parser.add_argument("--query", help="what to ask")
    parser.add_argument("--country", help="as seen from there, else PARALLAX_DEFAULT_COUNTRY")
    parser.add_argument("--city")
    parser.add_argument("--language")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    read = parser.parse_args(given)
    if read.country is None and (read.city or read.language):
        parser.error("--city and --language are of a --country")
    try:
        return read, _region(read)
    except ValidationError as error:
        faults = (f"--{fault['loc'][0]}: {fault['msg']}" for fault in error.errors())
        parser.error("; ".join(faults))


def _region(given: argparse.Namespace) -> Region | None:
    """As the API would read it; None if nothing is said of it."""
    if given.country is None:
        return None
    parts = {"country": given.country, "city": given.city, "language": given.language}
    return Region(**RegionIn.model_validate(parts).model_dump())
