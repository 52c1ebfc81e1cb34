"""`python -m workers [--slots N] [--surfaces a,b]`: one worker process; `… check`: none."""

import argparse
import asyncio
import os
import sys
from collections.abc import Mapping

import psycopg
import uvloop

from orchestrator import configuration, observability, settings
from orchestrator.configuration import Configuration
from orchestrator.errors import BROKEN_CONFIGURATION, SUPERVISED, ConfigError, ParallaxError
from orchestrator.garbage import spared
from orchestrator.settings import Settings
from workers import captures, process, serving
from workers.execution import Served
from workers.shares import least

DEFAULT_SLOTS = 256


def main() -> int:
    """Run until told to stop: 0 after a drain, else 1; a supervisor gets 78 for bad settings."""
    arguments = _arguments()
    try:
        here = settings.load()
        observability.configure(here)
        url = _database(here)
        configured = configuration.load(here.config, reachable=here.allow_networks)
        served = _served(configured, arguments.surfaces)
        _check(arguments.slots, served)
        spared()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(process.run(here, url, slots=arguments.slots, served=served))
            if captures.abandoned():
                os._exit(0)  # all is stored, and closing the loop would wait for them
    except ConfigError as error:
        print(error, file=sys.stderr)  # noqa: T201 - for the person who started it
        return BROKEN_CONFIGURATION if SUPERVISED in os.environ else 1
    except (ParallaxError, psycopg.OperationalError) as error:
        print(f"The worker cannot run: {error}", file=sys.stderr)  # noqa: T201 - as above
        return 1
    return 0


def _database(here: Settings) -> str:
    if not here.database_url:
        raise ConfigError("PARALLAX_DATABASE_URL is not set; `parallax work` finds a database.")
    return here.database_url


def _served(configured: Configuration, only: str | None) -> Mapping[str, Served]:
    return serving.served(configured, only.split(",") if only else ())


def _check(slots: int, served: Mapping[str, Served]) -> None:
    needed = least({surface.config.slots for surface in served.values()})
    if slots < needed:
        taken = ", ".join(f"{name} {surface.config.slots}" for name, surface in served.items())
        raise ConfigError(
            f"--slots: {slots} are too few; there must be {needed} for one child of each weight to"
            f" run (slots that a child takes: {taken})"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m workers", description="One worker process.")
    parser.add_argument("--slots", type=int, default=DEFAULT_SLOTS, help="children run at once")
    parser.add_argument("--surfaces", help="serve only these, separated by commas")
    arguments = parser.parse_args()
    if arguments.slots < 1:
        parser.error("--slots must be at least 1")
    return arguments


def _begin() -> int:
    if sys.argv[1:2] != ["check"]:
        return main()
    from workers import checking  # noqa: PLC0415 - it asks like the API, which no worker needs

    return checking.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(_begin())
