"""What every adapter is, and what is done for all of them: time-outs, wording, normalisation."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple, Protocol, TypeVar

import msgspec
import structlog
from pydantic import ValidationError

from orchestrator.configured import Table
from orchestrator.domain.envelope import Capture, Method
from orchestrator.surfaces import Discreet, SurfaceConfig
from workers import captures
from workers.adapters.normalising import encode, verified
from workers.captures import MisbehavedError, OverdueError
from workers.errors import OptionError, SurfaceError, TooLateError

_log = structlog.get_logger()


class CaptureRequest(Discreet, frozen=True, kw_only=True, gc=False):
    """One attempt at one child: what to ask, and as seen from where.

    `child` is the public id; `country` ISO 3166-1 alpha-2 in upper case; `options` what the client
    sent for this surface, checked against the adapter's schema; `attempt` counts from 1. `secret`
    is the newest webhook secret of the client's API key, if the surface signs with it.
    """

    child: str
    query: str
    surface: str
    country: str
    city: str | None = None
    language: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    attempt: int = 1
    secret: str | None = None

    def _shown(self) -> dict[str, Any]:
        return {"child": self.child, "attempt": self.attempt}

    @property
    def seed_material(self) -> str:
        """Equal for equal attempts, whichever child they belong to."""
        return (
            f"{self.surface}\0{self.country}\0{self.city}\0{self.language}"
            f"\0{self.attempt}\0{self.query}"
        )


class Adapter(Protocol):
    """Captures one surface, for any number of requests at once.

    `options_schema` is the JSON Schema of a request's options; `countries` those it serves, None
    for all; `instant` says that a capture never waits, so that no timer need guard it. One whose
    query is not any text has its JSON Schema as `query_schema`, too; the format `uri` is a URL that
    clients may have called.
    """

    @property
    def method(self) -> Method:
        """How it comes by an answer."""

    @property
    def options_schema(self) -> dict[str, Any]:
        """Of a request's options."""

    @property
    def countries(self) -> tuple[str, ...] | None:
        """Those it serves."""

    @property
    def instant(self) -> bool:
        """Whether a capture never waits."""

    async def capture(self, request: CaptureRequest) -> Capture:
        """What the surface shows; raises `SurfaceError`. Leaves nothing behind when canceled.

        The tasks it starts end with it; one that is to live longer is started in an empty
        `contextvars.Context()`.
        """

    async def close(self) -> None:
        """Let go of connections; no capture is running any more."""


class Captured(NamedTuple):
    """A capture, normalised, and the JSON of it that is stored."""

    capture: Capture
    json: bytes


class Options(Table):
    """The base of an adapter's options: as discreet as any table of `parallax.toml`."""


Model = TypeVar("Model", bound=Options)


async def run(
    adapter: Adapter,
    request: CaptureRequest,
    *,
    timeout_seconds: float,
    may_begin: Callable[[], bool] = lambda: True,
) -> Captured:
    """One attempt, in all no longer than this; raises only `SurfaceError` (and cancellation).

    Or `TooLateError`, when it may not begin at the moment it would. The task it runs in has the
    name of the child.
    """
    capture = _begun(adapter, request, may_begin)
    try:
        if adapter.instant:
            return Captured(*encode(await captures.at_once(capture)))
        found = await captures.bounded(capture, timeout_seconds, name=request.child)
        return Captured(*verified(found))
    except (SurfaceError, TooLateError):
        raise
    except OverdueError:
        reason = f"no answer within {timeout_seconds:g} s"
        raise SurfaceError("UPSTREAM_TIMEOUT", reason, permanent=False) from None
    except TimeoutError:
        reason = "no answer in the time its adapter allows for one"
        raise SurfaceError("UPSTREAM_TIMEOUT", reason, permanent=False) from None
    except Exception as error:
        _log.exception("adapter.broken", surface=request.surface, child=request.child)
        broke = str(error) if isinstance(error, MisbehavedError) else _broke(error)
        reason = f"its adapter {broke}; the worker's log says more"
        raise SurfaceError("ADAPTER_ERROR", reason, permanent=False) from error


async def _begun(
    adapter: Adapter, request: CaptureRequest, may_begin: Callable[[], bool]
) -> Capture:
    """Asked where the capture begins: those of a claim begin one after the other."""
    if not may_begin():
        raise TooLateError
    return await adapter.capture(request)


def _broke(error: Exception) -> str:
    return f"broke ({type(error).__name__})"


def read_options(config: SurfaceConfig, model: type[Model]) -> Model:
    """The surface's options as this model; raises `OptionError` with every fault."""
    try:
        return model.model_validate(config.options)
    except ValidationError as error:
        raise OptionError(*((fault["loc"], _reason(fault)) for fault in error.errors())) from None


def _reason(fault: Mapping[str, Any]) -> str:
    match fault["type"]:
        case "extra_forbidden":
            return "unknown option"
        case "missing":
            return "missing"
        case _:
            return str(fault["msg"]).removeprefix("Value error, ")


def now_text() -> str:
    """This moment as the wire says it: RFC 3339, UTC, three fractional digits, `Z`."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
