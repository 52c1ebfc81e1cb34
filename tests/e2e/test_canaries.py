"""Canaries over real processes: no secret is ever seen again, whatever goes wrong.

A server is driven through everything that can happen to it, at its most talkative. Its logs, all
that its commands print and every byte it answers are then searched for the secrets it was given.
"""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import httpx
import psycopg
import pytest
from psycopg import sql

from orchestrator.api.openapi.operation import SSE
from orchestrator.api.openapi.operations import OPERATIONS
from tests.contract import canaries
from tests.contract.canaries import SECRETS, Watch
from tests.e2e import unkind
from tests.e2e.unkind import Ports
from tests.processes import REPOSITORY
from tests.waiting import eventually

pytestmark = pytest.mark.anyio

PARALLAX = (sys.executable, "-m", "orchestrator")
PATIENCE_SECONDS = 60
KNOWN = "job_06h00r4h1trtr7pjt7b69j1f04"
READS = [
    o.path
    for o in OPERATIONS
    if o.method == "get" and "{" not in o.path and SSE not in o.answers[200].documents
]
"""Everything that can be read without an id and has an end."""

SURFACE = """
[surfaces.{name}]
adapter = "http"
attempts = 1
timeout = "{timeout}"
raw = true
[surfaces.{name}.options]
url = "{url}?q={{query}}&token=${{CANARY_TOKEN_URL}}"
text = "answer"
headers = {{Authorization = "Bearer ${{CANARY_HEADER}}"}}
body = {{secret = "${{CANARY_BODY}}"}}
[surfaces.{name}.regions.US]
headers = {{X-Region = "${{CANARY_REGION}}"}}
{proxy}
"""


def surfaces(at: Ports) -> dict[str, str]:
    """A surface for every way in which an upstream or a proxy can fail, and one that works."""
    plain, tls = f"http://127.0.0.1:{at.plain}", f"https://127.0.0.1:{at.tls}"
    proxies = {
        "proxied": f"http://u:${{CANARY_PROXY_URL}}@127.0.0.1:{at.proxy}",
        "unproxied": f"http://u:${{CANARY_PROXY_URL}}@127.0.0.1:{at.closed}",
        "socks": f"socks5://u:${{CANARY_SOCKS_URL}}@127.0.0.1:{at.socks}",
        "tunneled": f"http://u:${{CANARY_PROXY_URL}}@127.0.0.1:{at.proxy}",
    }
    urls = {
        **{path: f"{plain}/{path}" for path in ("fine", "failing", "nonsense", "garbage", "cut")},
        **{path: f"{plain}/{path}" for path in ("moved", "silent", "held")},
        "mute": f"{plain}/no-text",
        "refused": f"http://127.0.0.1:{at.closed}/",
        "untrusted": f"{tls}/fine",
        "mistaken": f"https://127.0.0.1:{at.plain}/fine",
        **dict.fromkeys(("proxied", "unproxied", "socks"), f"{plain}/fine"),
        "tunneled": f"{tls}/fine",
    }
    return {
        name: SURFACE.format(
            name=name,
            url=url,
            timeout="300ms" if name == "silent" else "1m",
            proxy=f'proxy = "{proxies[name]}"' if name in proxies else "",
        )
        for name, url in urls.items()
    }


class Stage:
    """Commands and processes in one environment; all they say is heard."""

    def __init__(self, watch: Watch, environment: dict[str, str]) -> None:
        self.watch = watch
        outside = {n: v for n, v in os.environ.items() if not n.startswith("PARALLAX_")}
        self.environment = outside | canaries.environment() | environment
        self.url = ""
        self._lines: list[str] = []

    async def command(self, *arguments: str, code: int | None = 0, **more: str) -> str:
        """Run `parallax` with these arguments, and demand its exit code; its stdout."""
        process = await self._start(*PARALLAX, *arguments, **more)
        async with asyncio.timeout(PATIENCE_SECONDS):
            said, errors = await process.communicate()
        self.watch.hear(f"parallax {' '.join(arguments)}", said, errors)
        assert code in {None, process.returncode}, errors.decode()
        return said.decode()

    @asynccontextmanager
    async def up(self) -> AsyncIterator[None]:
        """A server that is ready; it stops in order in the end."""
        process = await self._start(*PARALLAX, "up", "--port", "0")
        listening = [asyncio.create_task(self._listen(p)) for p in (process.stdout, process.stderr)]
        try:
            ready = await self.line("up.ready")
            self.url = re.search(r"http://127\.0\.0\.1:\d+", ready)[0]
            yield
        finally:
            process.terminate()
            await asyncio.wait(listening)
            self.watch.hear("the log", *self._lines)
            assert await process.wait() == 0

    async def line(self, wanted: str) -> str:
        """A line of the log that has this in it, once there is one."""

        async def look() -> str | None:
            return next((line for line in self._lines if wanted in line), None)

        return await eventually(look, seconds=PATIENCE_SECONDS)

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        async for line in stream:
            self._lines.append(line.decode())

    async def _start(self, *command: str, **more: str) -> Process:
        return await create_subprocess_exec(
            *command,
            cwd=REPOSITORY,
            env=self.environment | more,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
        )


class Caller(httpx.AsyncClient):
    """A client; every answer it gets is heard."""

    def __init__(self, stage: Stage, secret: str) -> None:
        super().__init__(base_url=stage.url, timeout=PATIENCE_SECONDS)
        self.headers["Authorization"] = f"Bearer {secret}"
        self.watch = stage.watch

    async def request(self, method, url, **given):
        answer = await super().request(method, url, **given)
        self.watch.hear(f"{method} {url}", answer.content, str(answer.headers.multi_items()))
        return answer


def with_password(url: str) -> str:
    """The URL with a canary for its password, where the server asks for none."""
    parts = urlsplit(url)
    if parts.password:
        return url
    who = f"{parts.username or ''}:{quote(SECRETS['DATABASE'], safe='')}"
    return urlunsplit(parts._replace(netloc=f"{who}@{parts.netloc.rpartition('@')[2]}"))


def written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


@pytest.fixture
async def ports(anyio_backend) -> AsyncIterator[Ports]:
    async with unkind.serving() as made:
        yield made


@pytest.fixture
def stage(database, ports, tmp_path) -> Stage:
    """An environment with secrets in all that can hold one."""
    settings = {
        "PARALLAX_DATABASE_URL": with_password(database),
        "PARALLAX_CONFIG": written(tmp_path / "parallax.toml", "".join(surfaces(ports).values())),
        "PARALLAX_SECRET_KEY": SECRETS["SECRET_KEY"],
        "PARALLAX_ALLOW_NETWORKS": "127.0.0.0/8",
        "PARALLAX_DRAIN_SECONDS": "1",
        "PARALLAX_LOG_LEVEL": "debug",
    }
    return Stage(Watch(), settings)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("log", ["json", "console"])
async def test_a_running_server_tells_no_secret(stage, log, ports, database, maintenance):
    """Not in a log nor in an answer, if it works, fails, is misused or loses its database."""
    stage.environment["PARALLAX_LOG"] = log
    await stage.command("migrate")
    secret = await issued(stage)
    async with stage.up(), Caller(stage, secret) as caller:
        await sign(caller)
        await work(caller, list(surfaces(ports)))
        await tell(caller, f"http://127.0.0.1:{ports.plain}")
        await misuse(caller)
        await break_the_schema(stage, caller, database)
        if log == "json":  # they do not log
            await commands(stage, secret)
        assert stored(database, stage.watch) == []
        await lose_the_database(caller, database, maintenance)
    for event in ("node.started", "request.failed", "request.unserved", "node.gives_back"):
        assert event in stage.watch.heard
    assert stage.watch.escaped() == []


async def issued(stage: Stage) -> str:
    """The secret of a new key, which is printed this once, and watched from now on."""
    elsewhere = Stage(Watch(), stage.environment)
    asked = ("--rate", "100000", "--role", "operator", "--json")
    made = await elsewhere.command("keys", "create", "canary", *asked)
    secret = json.loads(made)["key"]
    assert elsewhere.watch.escaped() == []
    stage.watch.secrets["API_KEY"] = secret
    return secret


async def sign(caller: Caller) -> None:
    """The key has a secret of its own choice; the reply that tells it this once is unheard."""
    asked = {"secret": SECRETS["SIGNING"]}
    told = await super(Caller, caller).request("POST", "/v1/webhooks/secrets", json=asked)
    assert told.status_code == 201
    made = await super(Caller, caller).request("POST", "/v1/webhooks/secrets")
    caller.watch.secrets["MADE"] = made.json()["secret"]
    assert len((await caller.get("/v1/webhooks/secrets")).json()["secrets"]) == 2


async def tell(caller: Caller, at: str) -> None:
    """Jobs are told of, signed with a secret of theirs or the key's; what is wrong is refused."""
    body = {"query": "tea", "surfaces": ["fine"], "idempotencyKey": "told"}
    fine, failing = {"url": f"{at}/fine"}, {"url": f"{at}/failing"}
    signed = fine | {"secret": SECRETS["WEBHOOK"]}
    for webhook, status in ((signed, 202), (signed, 202), (fine, 409)):
        answer = await caller.post("/v1/search", json=body | {"webhook": webhook})
        assert answer.status_code == status
    items = [{"query": "tea", "surfaces": ["fine"], "webhook": failing}]
    assert (await caller.post("/v1/search/batch", json={"items": items})).status_code == 200
    secret = SECRETS["WEBHOOK"]
    bad = {"url": f"{at}/ ", "secret": f"whsec_{secret}", "events": [secret]}
    assert (await caller.post("/v1/search", json=body | {"webhook": bad})).status_code == 400
    wrong = {"secret": f"{secret}\0", "expiresAt": secret}
    assert (await caller.post("/v1/webhooks/secrets", json=wrong)).status_code == 400

    async def attempted() -> dict[int, str] | None:
        told = (await caller.get("/v1/webhooks/deliveries")).json()["deliveries"]
        codes = {one["lastCode"]: one["id"] for one in told}
        return codes if {200, 500} <= codes.keys() else None

    for delivery in (await eventually(attempted)).values():
        path = f"/v1/webhooks/deliveries/{delivery}/replay"
        assert (await caller.post(path)).status_code == 202


async def work(caller: Caller, names: list[str]) -> None:
    """Every surface is asked; each fails in its way, but for the one that works."""
    body = {"query": "tea", "surfaces": names, "regions": ["US"]}
    job = (await caller.post("/v1/search", json=body)).json()["jobId"]

    async def ended() -> list[dict] | None:
        read = (await caller.get(f"/v1/jobs/{job}")).json()["children"]
        live = [child["surface"] for child in read if child["completedAt"] is None]
        return read if live == ["held"] else None

    read = await eventually(ended)
    assert {child["surface"] for child in read if child["status"] == "completed"} == {"fine"}
    assert all(child["error"] for child in read if child["status"] == "failed")
    for child in read:
        await caller.get(f"/v1/jobs/{child['id']}")
        await caller.get(f"/v1/jobs/{child['id']}?view=flat")
    for media in ("application/json", "application/x-ndjson"):
        await caller.get(f"/v1/jobs/{job}/results", headers={"Accept": media})
    for path in READS:
        assert (await caller.get(path)).status_code == 200
    asked = {"query": "tea", "country": "US"}
    assert (await caller.post("/v1/search/fine", json=asked)).status_code == 200
    left = {"Prefer": "wait=1"}
    assert (await caller.post("/v1/search/held", json=asked, headers=left)).status_code == 202


async def misuse(caller: Caller) -> None:
    """Keys that open nothing, and keys in every place where none belongs."""
    lost = SECRETS["LOST_KEY"]
    for name in ("MALFORMED_KEY", "UNKNOWN_KEY"):
        for scheme in ("Bearer", "Basic", ""):
            given = {"Authorization": f"{scheme} {SECRETS[name]}".strip()}
            assert (await caller.get("/v1/async/status", headers=given)).status_code == 401
    await caller.get("/v1/async/status", params={"api_key": lost})
    await caller.get("/v1/surfaces", headers={"X-Api-Key": lost, "Cookie": f"key={lost}"})
    for path in (f"/v1/jobs/{lost}", f"/v1/jobs/{lost}/results", f"/{lost}"):
        assert (await caller.get(path)).status_code == 404
    for name in ("limit", "cursor", "view"):
        assert (await caller.get(f"/v1/jobs/x/results?{name}={lost}")).status_code == 400
    for body in misplaced(lost):
        assert (await caller.post("/v1/search", json=body)).status_code == 400
    await misname(caller, lost)
    for query in (f"mode={lost}", f"key={lost}"):
        assert (await caller.post(f"/v1/search?{query}", json={})).status_code == 400
    for content in (lost, f'{{"query": {lost}', f'"{lost}"', f'"{lost}\ud800"'):
        sent = content.encode("utf-8", "surrogatepass")
        assert (await caller.post("/v1/search", content=sent)).status_code == 400
    assert (await caller.request("DELETE", "/v1/search", headers={"X": lost})).status_code == 405
    assert (await caller.post("/v1/search", content=lost * 10_000)).status_code == 413
    typed = {"Content-Type": f"text/{lost}"}
    assert (await caller.post("/v1/search", content=lost, headers=typed)).status_code == 415


async def misname(caller: Caller, lost: str) -> None:
    """An API key for an idempotency key, a surface and a preference: replayed, refused, ignored."""
    good, named = {"query": "tea", "surfaces": ["fine"]}, {"Idempotency-Key": lost}
    for body, status in ((good, 202), (good, 202), (good | {"query": "milk"}, 409)):
        answer = await caller.post("/v1/search", json=body, headers=named)
        assert answer.status_code == status
    unequal = good | {"idempotencyKey": f"{lost}!"}
    assert (await caller.post("/v1/search", json=unequal, headers=named)).status_code == 400
    assert (await caller.post(f"/v1/search/{lost}", json={"query": "a"})).status_code in {400, 404}
    await caller.get("/v1/surfaces", headers={"Prefer": f"wait={lost}"})


def misplaced(lost: str) -> list[dict[str, object]]:
    """Submissions with a secret for a value where something else belongs."""
    good = {"query": "tea", "surfaces": ["fine"]}
    return [
        good | {"apiKey": lost},
        good | {"priority": lost},
        good | {"maxAttempts": lost},
        good | {"regions": [lost]},
        good | {"regions": [{"country": lost}]},
        good | {"regions": [{"country": "US", "city": [lost], "language": lost}]},
        good | {"metadata": lost},
        good | {"metadata": {"key": [lost]}},
        good | {"metadata": {"key": lost * 20}},
        good | {"options": lost},
        good | {"options": {"fine": {"key": lost}}},
        good | {"options": {"fine": lost}},
        good | {"surfaces": lost},
        good | {"surfaces": [f"{lost}!"]},
        good | {"query": [lost]},
        good | {"query": f"{lost}\0"},
    ]


async def break_the_schema(stage: Stage, caller: Caller, database: str) -> None:
    """A table is gone for a while: the API answers 500, the worker's roles fail; all is logged."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        await connection.execute("ALTER TABLE parent RENAME TO elsewhere")
        lost = {"X-Request-ID": SECRETS["LOST_KEY"]}
        # unheard: the caller's own id comes back to it, whatever it is
        answer = await super(Caller, caller).request("GET", f"/v1/jobs/{KNOWN}", headers=lost)
        assert answer.status_code == 500
        assert (await caller.get(f"/v1/jobs/{KNOWN}")).status_code == 500
        await stage.line("role.failed")
        await connection.execute("ALTER TABLE elsewhere RENAME TO parent")


async def commands(stage: Stage, secret: str) -> None:
    """What a person types, with a key and a password in the environment."""
    mine = {"PARALLAX_URL": stage.url, "PARALLAX_API_KEY": secret}
    await stage.command("status", **mine)
    await stage.command("status", "--json", **mine)
    await stage.command("submit", "tea", "-s", "fine", "-r", "US", "--wait", "--json", **mine)
    await stage.command("keys", "list", "--json")
    await stage.command("keys", "limits", "canary", "--json")
    await stage.command("doctor", code=None)


def stored(database: str, watch: Watch) -> list[tuple[str, str, str]]:
    """The secrets in any table; but a client may name its submission as badly as it likes."""
    tables = Watch({n: s for n, s in watch.secrets.items() if n != "LOST_KEY"})
    with psycopg.connect(database) as session:
        names = session.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        for (name,) in names.fetchall():
            rows = sql.SQL("SELECT t::text FROM {} t").format(sql.Identifier(name))
            tables.hear(name, *(row for (row,) in session.execute(rows)))
    assert "canary" in tables.heard, "the key's name is"
    return tables.escaped()


async def lose_the_database(caller: Caller, database: str, maintenance) -> None:
    """It takes no more connections, and ends those it had."""
    name = sql.Identifier(urlsplit(database).path.lstrip("/"))
    maintenance.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS false").format(name))
    maintenance.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = %s",
        [urlsplit(database).path.lstrip("/")],
    )
    lost = SECRETS["LOST_KEY"]
    for path in (f"/v1/jobs/{KNOWN}", f"/v1/jobs/{KNOWN}?view={lost}", "/v1/health"):
        answer = await caller.get(path)
        assert answer.status_code in {400, 503}
    maintenance.execute(sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS true").format(name))


@pytest.mark.timeout(300)
async def test_commands_fail_without_telling_secrets(stage, tmp_path, ports):
    """A configuration or a database URL that cannot be used may hold a secret all the same."""
    broken = '[surfaces.site]\nadapter = "http"\nregions.US.proxy = "${CANARY_PROXY}"\n'
    file = written(tmp_path / "broken.toml", broken)
    await stage.command("work", code=1, PARALLAX_CONFIG=file)
    password = quote(SECRETS["DATABASE"], safe="")
    closed = f"postgresql://u:{password}@127.0.0.1:{ports.closed}/none"
    for command in (("up", "--port", "0"), ("keys", "list"), ("migrate",)):
        await stage.command(*command, code=1, PARALLAX_DATABASE_URL=closed)
    unread = f"postgresql://u:{password}%@127.0.0.1/none"
    for command in (("work",), ("doctor",)):
        await stage.command(*command, code=1, PARALLAX_DATABASE_URL=unread)
    assert "broken.toml:3: surfaces.site.regions.US.proxy" in stage.watch.heard
    assert "Traceback" not in stage.watch.heard
    assert stage.watch.escaped() == []


async def test_credentials_in_the_servers_url_are_not_told(stage, ports):
    """A server behind a gate that wants a password: an unreachable one is named without it."""
    password = quote(SECRETS["SERVER"], safe="")
    for where in (f"127.0.0.1:{ports.closed}", f"127.0.0.1:{ports.plain}", "127.0.0.1:x"):
        url = f"http://u:{password}@{where}/?token={SECRETS['TOKEN']}"
        key = SECRETS["UNKNOWN_KEY"]
        await stage.command("status", code=1, PARALLAX_URL=url, PARALLAX_API_KEY=key)
    assert "127.0.0.1" in stage.watch.heard
    assert stage.watch.escaped() == []
