"""HTTP between the machine and an API process: what is sent, and what an answer tells."""

import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import httpx

from admission.budget import Unaffordable
from admission.refusals import Refusal, RefusalCode, Taken, Watch
from orchestrator.domain import ids
from orchestrator.domain.plan import Plan
from orchestrator.domain.states import ParentState
from orchestrator.submission import Accepted, Conflict, Replayed
from tests.processes import REPOSITORY
from tests.stateful.deciding import Held, Told

SYNC_WAIT_SECONDS = 0.3
STARTED_SECONDS = 60
RUN = f"""
import sys
from orchestrator.api.server import serve
from orchestrator.settings import Settings
settings = Settings(database_url=sys.argv[1], sync_wait={SYNC_WAIT_SECONDS})
sys.exit(serve(settings, host="127.0.0.1", port=0, fd=int(sys.argv[2])))
"""


class Process:
    """An API process on a socket of its own, serving."""

    def __init__(self, database: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            fd = listening.fileno()
            self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            command = [sys.executable, "-c", RUN, database, str(fd)]
            self._process = subprocess.Popen(command, pass_fds=[fd], cwd=REPOSITORY)
        self.pid = self._process.pid

    def ready(self) -> None:
        """Return once it answers."""
        httpx.get(f"{self.url}/v1/health", timeout=STARTED_SECONDS).raise_for_status()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def body(plan: Plan, name: str | None) -> dict[str, Any]:
    """A submission of this plan under this name."""
    regions = [
        {"country": region.country} | ({"city": region.city} if region.city else {})
        for region in plan.regions
    ]
    asked = {"query": plan.query, "surfaces": plan.surfaces, "priority": plan.priority}
    perhaps = {
        "idempotencyKey": name,
        "delay": plan.delay or None,
        "deadline": plan.deadline,
        "finish": plan.finish and {"atLeast": plan.finish},
        "group": plan.group,
        "webhook": plan.webhook and {"url": plan.webhook.url, "events": plan.webhook.events},
    }
    given = {field: value for field, value in perhaps.items() if value is not None}
    return {**asked, "regions": regions, **given}


def told(answer: httpx.Response) -> Told:
    """What a submission was told by this answer."""
    said = answer.json()
    match answer.status_code:
        case 202 if "jobId" in said:
            return _known(answer, said["jobId"], said["status"])
        case 202:
            return _known(answer, said["job"]["id"], said["job"]["status"])
        case 200:
            return _known(answer, ids.text(parent(answer)), said["job"]["status"])
        case 403 | 409 | 429:
            return _denied(answer.status_code, said["error"], answer.headers)
        case 504:
            assert said["error"]["code"] == "SURFACE_TIMEOUT"
            assert parent(answer) == _parent(said["error"]["details"]["jobId"])
            return Held(parent(answer))
    raise AssertionError(answer.status_code, answer.text)


def parent(answer: httpx.Response) -> UUID:
    """The job an answer is about."""
    return _parent(answer.headers["Location"].removeprefix("/v1/jobs/"))


def replayed(answer: httpx.Response) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def _known(answer: httpx.Response, job: str, status: str) -> Told:
    found = _parent(job)
    assert parent(answer) == found
    return (
        Replayed(found, ParentState(status), waits=False) if replayed(answer) else Accepted(found)
    )


def _denied(status: int, error: dict[str, Any], headers: Mapping[str, str]) -> Told:
    if status == 403:
        return unaffordable(error)
    if status == 429:
        return refusal(error, headers)
    assert error["code"] == "IDEMPOTENCY_CONFLICT"
    return Conflict(_parent(error["details"]["jobId"]))


def unaffordable(error: dict[str, Any]) -> Unaffordable:
    """A 403 as what it stands for."""
    assert error["code"] == "INSUFFICIENT_CREDITS"
    details = error["details"]
    return Unaffordable(details["estimated"], details["remaining"])


def refusal(error: dict[str, Any], headers: Mapping[str, str]) -> Refusal:
    """A 429 as what it stands for."""
    details = error["details"]
    assert headers["Retry-After"] == str(details["retryAfterSeconds"])
    trio = [int(headers[f"X-Concurrency-{name}"]) for name in ("Limit", "Running", "Queued")]
    return Refusal(
        RefusalCode(error["code"]),
        Watch(details["watch"]),
        details["limit"],
        details["current"],
        details["requested"],
        details["retryAfterSeconds"],
        Taken(*trio),
    )


def _parent(job: str) -> UUID:
    read = ids.read(job)
    assert isinstance(read, ids.ParentId)
    return read.parent
