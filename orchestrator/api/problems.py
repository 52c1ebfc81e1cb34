"""Problems: every no this API can say, in its one shape."""

from datetime import UTC, datetime
from typing import Any, NamedTuple

from litestar.types import Scope

from orchestrator.api import styles
from orchestrator.api.codes import STATUSES, Code
from orchestrator.api.replies import Header, Reply, document
from orchestrator.api.stamps import request_id
from orchestrator.domain.envelope import Wire
from orchestrator.domain.times import rfc3339

AWAY_SECONDS = 2
"""When to come back to a server whose database is away."""
CHALLENGE = ((b"www-authenticate", b"Bearer"),)


class Problem(NamedTuple):
    """A typed no on its way out. `message` is for people and says what to do."""

    code: Code
    message: str
    details: Any = None
    headers: tuple[Header, ...] = ()

    def beside(self, *headers: Header) -> "Problem":
        """The same with these headers too."""
        return self._replace(headers=(*self.headers, *headers))


class Fault(Wire):
    """One thing wrong with a request, and where: `regions[2].country`."""

    path: str
    message: str


class Error(Wire):
    """What clients read of a problem."""

    code: Code
    message: str
    status: int
    timestamp: str
    request_id: str
    details: Any


class ErrorDocument(Wire):
    """The body of every error."""

    error: Error


def reply(problem: Problem, scope: Scope) -> Reply:
    """The problem as a response, in the style of the path that was asked."""
    style = styles.of(scope)
    return style.refuse(problem, scope) if style else native(problem, scope)


def native(problem: Problem, scope: Scope) -> Reply:
    """The problem in the one shape this API has itself."""
    told = error(problem, scope)
    return document(ErrorDocument(error=told), status=told.status, headers=problem.headers)


def error(problem: Problem, scope: Scope) -> Error:
    """The problem as clients of this request read it."""
    return Error(
        code=problem.code,
        message=problem.message,
        status=STATUSES[problem.code].value,
        timestamp=rfc3339(datetime.now(UTC)),
        request_id=request_id(scope),
        details=problem.details,
    )


def invalid(faults: list[Fault]) -> Problem:
    """A request with these faults, all of them."""
    things = "1 fault" if len(faults) == 1 else f"{len(faults)} faults"
    message = f"The request has {things}; `details` says where and what is allowed."
    return Problem(Code.VALIDATION_FAILED, message, faults)


def fault(path: str, message: str) -> Problem:
    """A request with one fault."""
    return invalid([Fault(path=path, message=message)])


def unavailable(message: str, *, seconds: int = AWAY_SECONDS) -> Problem:
    """The server cannot serve this now, but may soon."""
    return Problem(Code.SERVICE_UNAVAILABLE, message, headers=((b"retry-after", b"%d" % seconds),))


def database_away() -> Problem:
    """PostgreSQL cannot be reached, or takes no more."""
    return unavailable("The database cannot be reached at the moment.")


def shutting_down() -> Problem:
    """This process is leaving; another, or its successor, takes over."""
    return unavailable("This server is shutting down; nothing was stored. Send it again.")


def no_surfaces() -> Problem:
    """Nothing can be asked yet."""
    return unavailable("No worker has registered its surfaces yet.", seconds=5)


def missing_key() -> Problem:
    """No `Authorization: Bearer …`."""
    message = "Send your API key: Authorization: Bearer sk_live_…"
    return Problem(Code.MISSING_API_KEY, message, headers=CHALLENGE)


def malformed_key() -> Problem:
    """Something that no key looks like."""
    message = "This is not an API key: sk_live_ and at least 32 url-safe characters."
    return Problem(Code.INVALID_API_KEY_FORMAT, message, headers=CHALLENGE)


def unknown_key() -> Problem:
    """Unknown, expired and revoked look alike."""
    message = "This API key is unknown, expired or revoked."
    return Problem(Code.INVALID_OR_EXPIRED_API_KEY, message, headers=CHALLENGE)


def job_not_found() -> Problem:
    """Unknown, somebody else's and pruned look alike."""
    return Problem(Code.JOB_NOT_FOUND, "This API key has no such job.")


def task_not_found() -> Problem:
    """Unknown, somebody else's, deleted, cleared and pruned look alike."""
    return Problem(Code.JOB_NOT_FOUND, "This API key has no such task.")


def reservation_not_found() -> Problem:
    """Unknown, somebody else's and expired look alike."""
    return Problem(Code.NOT_FOUND, "This API key has no such reservation.")


def key_not_found() -> Problem:
    """A list was asked for of a key that is not there, or by a key that may not."""
    message = "There is no such key; to operators GET /v1/keys lists those there are."
    return Problem(Code.NOT_FOUND, message)


def group_not_found() -> Problem:
    """Unknown, somebody else's and empty look alike."""
    return Problem(Code.NOT_FOUND, "This API key has no such group.")


def delivery_not_found() -> Problem:
    """Unknown, somebody else's and pruned look alike."""
    return Problem(Code.NOT_FOUND, "This API key has no such delivery.")


def webhook_secret_not_found() -> Problem:
    """Unknown, somebody else's, expired and revoked look alike."""
    return Problem(Code.NOT_FOUND, "This API key has no such webhook secret.")


def keeps_no_secrets() -> Problem:
    """A secret was to be kept, and nothing to seal it with is configured."""
    message = (
        "This server keeps no secrets yet: its operator has to set PARALLAX_SECRET_KEY"
        " (openssl rand -hex 32) for every process and start them again."
    )
    return unavailable(message, seconds=60)


def lane_not_found(message: str) -> Problem:
    """A surface there is not, or a country it does not look from; `message` says what there is."""
    return Problem(Code.NOT_FOUND, message)


def not_found() -> Problem:
    """A path that is not one."""
    message = "Nothing is served at this path; GET /schema/openapi.json lists what is."
    return Problem(Code.NOT_FOUND, message)


def method_not_allowed(allowed: str) -> Problem:
    """A method the path does not have."""
    message = f"This path takes {allowed}."
    return Problem(Code.METHOD_NOT_ALLOWED, message, headers=((b"allow", allowed.encode()),))


def too_large(largest_bytes: int) -> Problem:
    """More than anybody needs."""
    return Problem(Code.PAYLOAD_TOO_LARGE, f"The body may have {largest_bytes:,} bytes.")


def not_json(message: str = "Send JSON, with Content-Type: application/json.") -> Problem:
    """A body in a form nobody reads here."""
    return Problem(Code.UNSUPPORTED_MEDIA_TYPE, message)


def surprise() -> Problem:
    """A fault of this server, told without internals."""
    message = "Something went wrong on the server; its log has it under this request id."
    return Problem(Code.INTERNAL_SERVER_ERROR, message)
