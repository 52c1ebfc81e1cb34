"""The clients of the cookbook pages, run as they stand there against a live server."""

import asyncio
import hashlib
import hmac
import re
import sys

import pytest
from aiohttp import web

from tests.e2e.processes import Server
from tests.processes import REPOSITORY

pytestmark = pytest.mark.anyio
BLOCKS = re.compile(r"```python\n(.*?)```", re.DOTALL)
CONFIGURATION = """
[surfaces.chatgpt]
adapter = "simulator"
credits = 5
[surfaces.chatgpt.options]
latency_ms = 0

[queues.emails]
concurrency = 2
"""
SECRET = "whsec_c2VjcmV0cyBhcmUgaGVyZQ=="


def blocks(page: str) -> list[str]:
    """The Python of a page."""
    return BLOCKS.findall((REPOSITORY / "openapi" / f"{page}.md").read_text())


@pytest.fixture
async def running(tmp_path, database):
    """`parallax up` with a surface and a queue, which may call this machine."""
    (tmp_path / "parallax.toml").write_text(CONFIGURATION)
    made = Server(tmp_path, database=database)
    made.environment["PARALLAX_ALLOW_NETWORKS"] = "127.0.0.0/8"
    made.environment["PARALLAX_SECRET_KEY"] = "what secrets are sealed with here"
    async with made.up():
        yield made


@pytest.fixture
async def endpoint():
    """Where a task's URL leads: what came there, and its address."""
    got = []

    async def handle(request: web.Request) -> web.Response:
        got.append((request.headers, await request.read()))
        return web.Response(status=204)

    runner = web.ServerRunner(web.Server(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield got, f"http://127.0.0.1:{runner.addresses[0][1]}/work"
    await runner.cleanup()


async def ran(code: str, **environment: str) -> str:
    """What a client prints."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code),
        env=environment | {"NO_PROXY": "*"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    return said.decode()


async def test_every_page_has_a_client_that_works(running, endpoint):
    """Native, cloro, AsyncQueue, Rodin: ten lines each, a key and a base URL."""
    got, work = endpoint
    key = (await running.command("keys", "create", "cookbook", "--credits", "100")).strip()
    known = {"PARALLAX_URL": running.url, "PARALLAX_API_KEY": key, "WORK_URL": work}
    native = await ran(blocks("native")[0], **known)
    assert re.findall(r"^(\w\w) completed \S", native, re.MULTILINE) == ["US", "GB"]
    cloro = await ran(blocks("cloro")[0], **known)
    assert cloro.startswith("COMPLETED 5 ")
    asyncqueue = await ran(blocks("asyncqueue")[0], **known)
    assert asyncqueue == "completed [204]\n"
    assert len(got) == 1
    rodin = await ran(blocks("rodin")[0], **known)
    assert rodin == "chatgpt: 0 running, 0 waiting, 1 workers\n"


@pytest.mark.parametrize("page", ["native", "cloro", "asyncqueue", "rodin"])
def test_a_client_has_ten_lines(page):
    """Without its imports."""
    code = [line for line in blocks(page)[0].splitlines() if line and "import " not in line]
    assert len(code) <= 10


def test_what_checks_signatures_does():
    """Those of a genuine call, and no others."""
    body, moment = b'{"a": 1}', "1767605400"
    digest = hmac.new(SECRET.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()
    told = {
        "cloro": {"X-Cloro-Timestamp": moment, "X-Cloro-Signature": f"v1={digest}"},
        "asyncqueue": {"X-AsyncQueue-Signature": f"t={moment},v1={digest}"},
    }
    for page, headers in told.items():
        named: dict[str, object] = {}
        exec(blocks(page)[1], named)
        verified = named["verified"]
        assert verified(SECRET, headers, body)
        assert not verified(SECRET, headers, body + b" ")
        assert not verified("another", headers, body)
