"""How soon a job starts when there is nothing else to do: one API process, one worker process."""

import http.client
import json
import time
from contextlib import closing
from urllib.parse import urlsplit

from admission.limits import Limits
from tests.bench import stack, witness
from tests.bench.loading import Answered
from tests.bench.report import Row

LIMITS = Limits(requests_per_minute=10**6)
WARM_UP = 20
IDLE_SECONDS = 0.02


def run(scale: float) -> list[Row]:
    """From the 202 a client got to the arrival at the upstream, one job after another."""
    count = max(10, int(200 * scale))
    with stack.running() as here, witness.witnessing(0) as upstream:
        here.config(witness.surface("site", upstream.port, "concurrency = 10"))
        here.worker(slots=64)
        url = here.api()
        stack.wait_for_surfaces(here)
        told = _submit(url, here.key("bench", LIMITS), WARM_UP + count)
        arrived = {int(call.query): call.arrived for call in upstream.calls()}
    waits = [arrived[n] - at for n, at in enumerate(told)][WARM_UP:]
    seen = Answered(sum(waits), {202: count}, waits)
    return [
        Row("a job's 202 to its start, idle: p50", seen.percentile(0.5) * 1e3, "ms", 10, most=True),
        Row("  p99", seen.percentile(0.99) * 1e3, "ms"),
    ]


def _submit(url: str, secret: str, count: int) -> list[float]:
    """When each submission was answered, in monotonic seconds; the next comes when it has ended."""
    where = urlsplit(url)
    with closing(
        http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    ) as connection:
        return [_one(connection, secret, number) for number in range(count)]


def _one(connection: http.client.HTTPConnection, secret: str, number: int) -> float:
    headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
    body = json.dumps({"query": str(number), "surfaces": ["site"], "regions": ["US"]})
    connection.request("POST", "/v1/search", body, headers)
    answer = connection.getresponse()
    job = json.load(answer)
    told = time.monotonic()
    assert answer.status == 202, job
    status = "queued"
    while status != "completed":
        connection.request("GET", f"/v1/jobs/{job['jobId']}?wait=5", headers=headers)
        status = json.load(connection.getresponse())["job"]["status"]
        assert status in {"queued", "processing", "completed"}, status
    time.sleep(IDLE_SECONDS)  # what its end gave the processes to do is done
    return told
