"""One surface, asked once as a job would ask it."""

import time
from typing import NamedTuple

from orchestrator.api import option_checks
from orchestrator.api.problems import Fault
from orchestrator.domain import queues
from orchestrator.domain.addresses import networks
from orchestrator.domain.envelope import Capture, Failure
from orchestrator.domain.regions import Region
from workers.adapters import base, discovery
from workers.adapters.base import CaptureRequest
from workers.checked import Checked, Skipped, shown
from workers.errors import SurfaceError
from workers.execution import Served

QUESTIONS = ("Which running shoes are best for wide feet?", "https://example.com/")
"""What is asked where nothing else is said: the first that the surface takes."""


class Asked(NamedTuple):
    """What is asked, and from where; None: what the surface takes, from the server's country."""

    query: str | None = None
    region: Region | None = None
    default_country: str = "US"


async def ask(name: str, served: Served, asked: Asked) -> Checked | Skipped:
    """What it answers, or why it cannot be asked so."""
    prepared = request(name, served, asked)
    if isinstance(prepared, Skipped):
        return prepared
    if isinstance(prepared, Failure):
        country = asked.region.country if asked.region else asked.default_country
        return _checked(served, country, error=prepared)
    begun = time.monotonic()
    try:
        seconds = served.config.timeout_seconds
        found = (await base.run(served.adapter, prepared, timeout_seconds=seconds)).capture
    except SurfaceError as error:
        failure = Failure(code=error.code, message=error.message, retryable=not error.permanent)
        return _checked(served, prepared.country, begun, error=failure)
    return _checked(served, prepared.country, begun, found=found)


def request(name: str, served: Served, asked: Asked) -> CaptureRequest | Failure | Skipped:
    """What a job of these words would have a worker do, or why the API would refuse it."""
    if queues.is_queue(name):
        return Skipped(surface=name, reason="a queue calls what its tasks say")
    config = served.config
    descriptor = discovery.describe(config, served.adapter)
    checks = option_checks.made([descriptor], networks(" ".join(config.reachable)))
    if wrong := option_checks.faults(checks.options[name], f"options.{name}", {}):
        return Skipped(surface=name, reason=f"a job has to bring {_said(wrong)}")
    region = _region(asked, descriptor.countries)
    if region is None:
        where = ", ".join(descriptor.countries or ()) or "no country"
        return _refused("UNSUPPORTED_REGION", f"it can be asked from {where} only")
    query = asked.query
    if check := checks.queries.get(name):
        fitting = (one for one in QUESTIONS if not option_checks.faults(check, "query", one))
        query = query or next(fitting, None)
        if query is None:
            return Skipped(surface=name, reason="it takes no plain question: give one by --query")
        if wrong := option_checks.faults(check, "query", query):
            return _refused("VALIDATION_FAILED", _said(wrong))
    return CaptureRequest(
        child=f"check.{name}",
        query=query or QUESTIONS[0],
        surface=name,
        country=region.country,
        city=region.city,
        language=region.language,
    )


def _region(asked: Asked, countries: tuple[str, ...] | None) -> Region | None:
    """The region asked for, else the server's own country, else another that is served."""
    region = asked.region or Region(country=asked.default_country)
    if countries is None or region.country in countries:
        return region
    return Region(country=countries[0]) if countries and asked.region is None else None


def _refused(code: str, message: str) -> Failure:
    return Failure(code=code, message=message, retryable=False)


def _said(faults: list[Fault]) -> str:
    return "; ".join(f"{fault.path}: {fault.message}" for fault in faults)


def _checked(
    served: Served,
    country: str,
    begun: float | None = None,
    *,
    error: Failure | None = None,
    found: Capture | None = None,
) -> Checked:
    return Checked(
        surface=served.config.name,
        adapter=served.config.adapter,
        country=country,
        seconds=0.0 if begun is None else round(time.monotonic() - begun, 3),
        error=error,
        warnings=found.warnings if found else (),
        envelope=shown(found) if found else None,
    )
