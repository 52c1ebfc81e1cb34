"""`surfaces check`: what is configured, asked once, live."""

import asyncio
import json
import os
import re
import signal
import sys

import pytest
from aiohttp import web

from orchestrator import configuration
from orchestrator.domain.addresses import networks
from orchestrator.domain.regions import Region
from tests.processes import REPOSITORY
from tests.workers.fakes import FAKES
from tests.workers.fakes.saying import MODEL, Said
from workers import checking, serving
from workers.asking import QUESTIONS, Asked
from workers.checked import lines

KEY = "key-1"
SAID = Said(
    pieces=(("Shoes of **Acme**.\n\x1b[31m", (("https://a.example/", "A"),)),), queries=("shoes",)
)
OPENAI = f"""
[surfaces.chatgpt]
adapter = "openai"
[surfaces.chatgpt.options]
model = "{MODEL}"
base_url = "@"
"""
SIMULATED = """
[surfaces.quick]
adapter = "simulator"
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the file that PARALLAX_CONFIG names; no key is in the environment."""
    path = tmp_path / "parallax.toml"
    monkeypatch.setenv("PARALLAX_CONFIG", str(path))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    def write(text, url="http://127.0.0.1:1"):
        path.write_text(text.replace("@", url))
        return path

    return write


@pytest.fixture
def checked(write):
    """What comes of asking the surfaces of a file, in this process; the last is `queue_default`."""

    async def checked(text, asked=Asked(), *, url="http://127.0.0.1:1"):  # noqa: B008
        configured = configuration.load(write(text, url), reachable=networks("127.0.0.1"))
        found = []
        await checking.check(serving.served(configured, ()), asked, found.append)
        return found

    return checked


async def start(*arguments, **environment):
    """`parallax surfaces check`, as from a shell."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "orchestrator", "surfaces", "check", *arguments),
        env=os.environ | environment,
        cwd=REPOSITORY,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


@pytest.mark.anyio
async def test_a_provider_is_asked_as_a_job_would_ask_it(serve, write):
    """In a process of its own; the Envelope of a named surface is shown whole, the key nowhere."""
    fake, asked = FAKES["openai"], []

    async def answer(request):
        assert fake.authorized(request.headers)
        asked.append(await request.json())
        fake.check_asked(asked[-1])
        return web.json_response(fake.tell(SAID).reply)

    write(OPENAI, await serve(answer))
    process = await start("chatgpt", "-r", "GB/Leeds", OPENAI_API_KEY=KEY)
    out, err = (text.decode() for text in await process.communicate())
    assert (process.returncode, err) == (0, "")
    assert (fake.query_of(asked[0]), fake.country_of(asked[0])) == (QUESTIONS[0], "GB")
    assert asked[0]["tools"][0]["user_location"]["city"] == "Leeds"
    head, _, rest = out.partition("\n")
    assert re.match(r"chatgpt \(openai, GB, \d+\.\d s\): ok, 1 source.*: Shoes of Acme\.", head)
    envelope = json.loads(rest)
    assert list(envelope) == ["provenance", "answer", "evidence", "raw"]
    assert envelope["evidence"]["sources"][0]["url"] == "https://a.example/"
    assert KEY not in out


@pytest.mark.anyio
async def test_ctrl_c_ends_it_quietly(serve, write):
    """Without a traceback, as any command."""
    asked = asyncio.Event()

    async def hold(_request):
        asked.set()
        await asyncio.Event().wait()

    write(OPENAI, await serve(hold))
    process = await start(OPENAI_API_KEY=KEY)
    await asked.wait()
    process.send_signal(signal.SIGINT)
    assert await process.communicate() == (b"", b"")
    assert process.returncode == 130


@pytest.mark.anyio
async def test_all_are_asked_at_the_same_time_and_told_of_in_their_order(serve, checked):
    """The first answers only when the second was asked, and is the first to be told of."""
    second = asyncio.Event()

    async def answer(request):
        if request.path == "/1":
            await second.wait()
        else:
            second.set()
        return web.json_response({"answer": request.path})

    site = '[surfaces.s{0}]\nadapter = "http"\noptions = {{url = "@/{0}", text = "answer"}}\n'
    *found, _ = await checked(site.format(1) + site.format(2), url=await serve(answer))
    assert [(one.surface, one.envelope.answer.text) for one in found] == [
        ("s1", "/1"),
        ("s2", "/2"),
    ]


@pytest.mark.anyio
async def test_what_failed_says_why_and_the_others_answer(serve, checked, monkeypatch):
    """A provider's refusal is told by code and message; it never repeats the key."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    fake = FAKES["openai"]

    async def refuse(_request):
        return web.json_response(fake.error(401, "invalid_api_key"), status=401)

    refused, well, _ = await checked(OPENAI + SIMULATED, url=await serve(refuse))
    (line,) = lines(refused, whole=True)
    assert re.match(r"chatgpt \(openai, US, .* s\): FAILED: [A-Z_]+: .*OPENAI_API_KEY", line)
    assert KEY not in line
    assert (refused.envelope, well.error) == (None, None)


@pytest.mark.anyio
async def test_what_nothing_can_be_asked_without_is_skipped(checked):
    """Where a job has to bring options, and queues, which are no surfaces."""
    hook, queue = await checked('[surfaces.hook]\nadapter = "webhook"\n')
    assert (hook.surface, queue.surface) == ("hook", "queue_default")
    assert "options.hook" in hook.reason


@pytest.mark.anyio
async def test_a_region_that_is_not_served_is_refused(checked):
    """If it was asked for; else a country is taken that is served."""
    text = f'{SIMULATED}countries = ["GB", "FR"]\n'
    taken, _ = await checked(text)
    assert (taken.country, taken.error) == ("FR", None)
    city = Region(country="GB", city="Leeds", language="en")
    asked, _ = await checked(text, Asked(region=city))
    assert asked.envelope.provenance.region.requested == "GB"
    refused, _ = await checked(text, Asked(region=Region(country="US")))
    assert (refused.country, refused.envelope) == ("US", None)
    assert (refused.error.code, refused.error.message) == (
        "UNSUPPORTED_REGION",
        "it can be asked from FR, GB only",
    )


@pytest.mark.anyio
async def test_a_query_is_one_that_the_surface_takes(serve, checked):
    """Pages are asked for by their URL; any other query is refused as the API would refuse it."""
    seen = []

    async def page(request):
        seen.append(request.path)
        return web.Response(text="<h1>Shoes</h1>", content_type="text/html")

    url = await serve(page)
    text = '[surfaces.page]\nadapter = "page"\noptions = {robots = false}\n'
    read, _ = await checked(text, Asked(query=f"{url}/shoes"))
    assert (seen, read.envelope.answer.text) == (["/shoes"], "Shoes")
    refused, _ = await checked(text, Asked(query="shoes"))
    assert refused.error.code == "VALIDATION_FAILED"
    assert "http" in refused.error.message


@pytest.mark.anyio
async def test_nothing_of_an_answer_steers_a_terminal(serve, checked):
    """What an upstream says is shown as text, in the line and in the Envelope."""
    site = '[surfaces.s]\nadapter = "http"\noptions = {url = "@/", text = "answer"}\n'

    async def answer(_request):
        return web.json_response({"answer": "\x1b[2J\x9b\r\nred"})

    found, _ = await checked(site, url=await serve(answer))
    shown = "\n".join(lines(found, whole=True))
    assert all(character.isprintable() or character == "\n" for character in shown)
    assert "red" in shown


def test_one_document_for_scripts(write, capsys):
    """`--json`: a list of all that was asked; what was skipped is said beside it."""
    write(f'{SIMULATED}[surfaces.hook]\nadapter = "webhook"\n')
    assert checking.main(["--json"]) == 0
    told = capsys.readouterr()
    (found,) = json.loads(told.out)
    assert list(found) == [
        *("surface", "adapter", "country", "seconds", "error", "warnings", "envelope"),
    ]
    assert (found["surface"], found["error"], found["envelope"]["raw"]) == ("quick", None, None)
    assert told.err.startswith("hook: skipped: ")
    assert told.err.count("\n") == 1  # nobody has configured the queue that is always there


def test_a_line_each_unless_they_are_named(write, capsys):
    """For people: the Envelope only of what they name; the exit code is 1 once one has failed."""
    write(SIMULATED + "[surfaces.gone]\nadapter = 'http'\noptions = {url = '@', text = 't'}\n")
    assert checking.main([]) == 1
    first, second = capsys.readouterr().out.splitlines()
    assert re.match(r"quick \(simulator, US, \d+\.\d s\): ok, \d sources: ", first)
    assert "FAILED: CONNECT_FAILED: " in second
    assert checking.main(["quick", "queue_default"]) == 0
    told = capsys.readouterr()
    assert json.loads(told.out.partition("\n")[2])["answer"]["text"]
    assert told.err.startswith("queue_default: skipped: ")


def test_missing_credentials_are_told_of_all_at_once(write, capsys):
    """By file and line, and the variable that has to be set; nothing is asked."""
    text = OPENAI + OPENAI.replace("chatgpt", "other").replace(MODEL, "${NOT_SET_ANYWHERE}")
    path = write(text.replace("${NOT_SET_ANYWHERE}", "m"))
    assert checking.main([]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{path}:{line}: surfaces.{name}.options.api_key: missing: set the environment variable"
        " OPENAI_API_KEY"
        for line, name in ((4, "chatgpt"), (10, "other"))
    ]
    write(text)
    assert checking.main(["chatgpt"]) == 1
    assert "environment variable NOT_SET_ANYWHERE is not set" in capsys.readouterr().err


def test_a_name_that_is_not_configured(write, capsys):
    """What there is instead is said; the queue that is always there is not of it."""
    write(SIMULATED)
    assert checking.main(["slow", "quick"]) == 1
    assert capsys.readouterr().err == "not configured: slow; there are quick\n"


def test_where_nothing_is_configured_it_says_how_to_begin(write, tmp_path, monkeypatch, capsys):
    """Without a file, wherever it is looked for, and with one that has queues alone."""
    write("[queues.emails]\n")
    assert checking.main([]) == 1
    assert "`parallax init`" in capsys.readouterr().err
    (tmp_path / "parallax.toml").unlink()
    assert checking.main([]) == 1
    assert f"there is no {tmp_path}/parallax.toml" in capsys.readouterr().err
    monkeypatch.delenv("PARALLAX_CONFIG")
    monkeypatch.chdir(tmp_path)
    assert checking.main(["chatgpt"]) == 1
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("there is no parallax.toml, ")
    assert "`parallax init`" in told.err


@pytest.mark.parametrize(
    "wrong", ["--nonsense", "--country xx", "--country USA", "--city Leeds", "--country GB --city="]
)
def test_wrong_usage_is_exit_code_2(write, wrong):
    """Before anything is read."""
    with pytest.raises(SystemExit) as ended:
        checking.main(wrong.split(" "))
    assert ended.value.code == 2
