"""Schemathesis over every operation of a live server, with all its checks.

Its command runs as a process of its own: its plugin for pytest would judge our warnings, and the
command has phases (examples, coverage, fuzzing, stateful) the plugin has not.
"""

import copy
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from admission.limits import Limits
from orchestrator.api.schemas import MOST_REGIONS
from tests.bench.stack import Stack, wait_for_surfaces
from tests.processes import REPOSITORY
from tests.schemathesis import furnishing, narrowing
from tests.schemathesis.narrowing import Spare
from tests.schemathesis.noting import MET
from workers.adapters.simulator import Simulator

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SURFACES = dict.fromkeys(("chatgpt", "perplexity"), Simulator.options_schema)
ENDLESS = "endless"
DOCUMENT = narrowing.document(SURFACES, Spare(ENDLESS, "GB"))
LATENCIES = dict.fromkeys(SURFACES, 0) | {ENDLESS: 600_000}
"""Milliseconds a capture takes. The document does not know of the one that outlasts every run."""
SERVER = "".join(
    f'[surfaces.{name}]\nadapter = "simulator"\ntimeout = "15m"\noptions.latency_ms = {latency}\n'
    for name, latency in LATENCIES.items()
)
# cloro says 500 of a monitor that is not done in time.
# 503 and 504 are answers of an API that waits; that one comes only where the document has it is
# another check's business. What is inferred from names of fields takes a job for the id of a job.
# DELETE of a live job cancels it, and it can be read afterwards: what is erased has a test.
# Little is invalid in a header that may be any text: most of what is drawn for it is thrown away.
CONFIGURATION = """
request-timeout = 60
suppress-health-check = ["filter_too_much", "too_slow"]

[generation]
database = "none"

[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", "503", "504"]

[[operations]]
include-operation-id = "monitor"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", "500", "503"]

[phases.stateful.inference]
algorithms = ["location-headers"]

[checks.use_after_free]
enabled = false
"""
UNBOUND = Limits(
    requests_per_minute=1_000_000, sync_limit=1_000, queue_capacity=100_000, concurrency=1_000
)


class Met(NamedTuple):
    """A kind of response: which operation, its status, and the code of an error."""

    operation: str
    status: int
    code: str


@pytest.fixture
def stack(database, tmp_path, monkeypatch) -> Iterator[Stack]:
    """A database of this test's own, and processes to come.

    They have little patience, and wait for every request the document allows: that some are too
    large to wait for is a rule no schema can say. They keep secrets, and tell webhooks on loopback.
    """
    monkeypatch.setenv("PARALLAX_SYNC_WAIT", "1")
    monkeypatch.setenv("PARALLAX_SYNC_WAIT_MAX", "1")
    monkeypatch.setenv("PARALLAX_SYNC_MAX_CHILDREN", str(len(SURFACES) * MOST_REGIONS))
    monkeypatch.setenv("PARALLAX_SECRET_KEY", "what secrets are sealed with here")
    monkeypatch.setenv("PARALLAX_ALLOW_NETWORKS", "127.0.0.0/8")
    with ExitStack() as exits:
        made = Stack(database, tmp_path, exits)
        made.config(SERVER)
        yield made


def furnished(made: dict[str, list[str]]) -> dict[str, Any]:
    """The document with these, where an operation is about one, as all that it may be."""
    document = copy.deepcopy(DOCUMENT)
    known = document["components"]["parameters"]
    for methods in document["paths"].values():
        for operation in methods.values():
            named = made.get(operation["operationId"])
            for place, parameter in enumerate(operation["parameters"]):
                told = known[parameter["$ref"].rpartition("/")[2]] if "$ref" in parameter else {}
                if named and told.get("in") == "path":
                    schema = {"type": "string", "enum": named}
                    operation["parameters"][place] = {**told, "schema": schema}
    return document


def of_batches(*, most: int) -> dict[str, Any]:
    """The document for a key whose queue holds so many: more are a fault, all or none wanted."""
    document = copy.deepcopy(DOCUMENT)
    document["components"]["schemas"]["BatchRequest"]["properties"]["items"]["maxItems"] = most
    return document


def of_sync_jobs() -> dict[str, Any]:
    """The document for a client that waits for whatever it submits."""
    document = copy.deepcopy(DOCUMENT)
    document["components"]["parameters"]["mode"] |= {"required": True, "schema": {"const": "sync"}}
    return document


def run(
    stack: Stack, url: str, secret: str, *options: str, document: dict[str, Any] = DOCUMENT
) -> set[Met]:
    """Run Schemathesis, which must find nothing; what it met."""
    files = [stack.folder / name for name in ("schemathesis.toml", "document.json", "met")]
    for file, text in zip(files, (CONFIGURATION, json.dumps(document), ""), strict=True):
        file.write_text(text)
    configuration, told, met = map(str, files)
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", configuration]
    command += ["run", told, "--url", url, "--header", f"Authorization: Bearer {secret}"]
    path = filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))
    known = {
        "SCHEMATHESIS_HOOKS": "tests.schemathesis.hooks",
        "PYTHONPATH": os.pathsep.join(path),
    }
    ended = subprocess.run(
        [*command, "--no-color", *options],
        cwd=stack.folder,
        env=os.environ | known | {MET: met},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return {Met(*json.loads(line)) for line in Path(met).read_text().splitlines()}


def successes() -> set[tuple[str, int]]:
    """Every operation with each status of success the document has for it."""
    return {
        (f"{method.upper()} {path}", int(status))
        for path, methods in DOCUMENT["paths"].items()
        for method, operation in methods.items()
        for status in operation["responses"]
        if status.startswith("2")
    }


def test_a_live_server_keeps_to_its_document(stack):
    """Valid requests are served, others refused, and no response is one the document lacks."""
    stack.worker(slots=100)
    url = stack.api()
    wait_for_surfaces(stack)
    secret = stack.key("unbound", UNBOUND, "operator")
    document = furnished(furnishing.furnish(url, secret, ENDLESS))
    met = run(stack, url, secret, "--max-examples", "30", document=document)
    assert successes() <= {(kind.operation, kind.status) for kind in met}
    assert not {"INTERNAL_SERVER_ERROR", "SERVICE_UNAVAILABLE"} & {kind.code for kind in met}


def test_refusals_and_time_outs_keep_to_the_document(stack):
    """The 429s and the 504 are as described too: full queue, no sync place, rate used up."""
    worker = stack.worker(slots=1)
    url = stack.api()
    wait_for_surfaces(stack)
    worker.terminate()  # from here on nothing ends
    worker.wait()
    short = ("--phases", "fuzzing", "--max-examples", "10")
    small = UNBOUND._replace(queue_capacity=2, sync_limit=1)
    slow = UNBOUND._replace(requests_per_minute=10)
    single = UNBOUND._replace(sync_limit=1)
    waiting = ("--include-operation-id", "submit", "--mode", "positive")
    met = run(stack, url, stack.key("small", small), *short, document=of_batches(most=2))
    met |= run(stack, url, stack.key("slow", slow), *short)
    met |= run(stack, url, stack.key("single", single), *short, *waiting, document=of_sync_jobs())
    assert {
        "QUEUE_CAPACITY_EXCEEDED",
        "CONCURRENCY_LIMIT_EXCEEDED",
        "RATE_LIMIT_EXCEEDED",
        "SURFACE_TIMEOUT",
    } <= {kind.code for kind in met}
