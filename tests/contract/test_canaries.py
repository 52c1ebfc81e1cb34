"""Canaries in records, errors and log lines: whatever is shown of them, no secret is."""

import json
import logging
import traceback
from pathlib import Path
from urllib.parse import quote

import aiohttp
import httpx
import psycopg
import pytest
import structlog
from pydantic import ValidationError
from rich.pretty import pretty_repr
from yarl import URL

from orchestrator import observability, settings
from orchestrator.api import requests
from orchestrator.api.between import Rules
from orchestrator.api.schemas import SubmitRequest
from orchestrator.client import errors as client_errors
from orchestrator.errors import ConfigError
from orchestrator.settings import Settings
from tests.contract import holders
from tests.contract.canaries import SECRETS, Watch
from tests.contract.holders import DATABASE, HARMLESS, HOLDERS, PROXY, UPSTREAM
from workers import egress_errors
from workers.adapters import discovery


def test_every_record_that_could_hold_a_secret_is_in_the_table():
    """A new record whose fields sound like secrets is proved discreet, or declared harmless."""
    assert holders.suspects() - HOLDERS.keys() - HARMLESS.keys() == set()
    assert HARMLESS.keys() - holders.suspects() == set(), "of the past"


@pytest.mark.parametrize("name", HOLDERS)
def test_what_holds_a_secret_shows_none(name, tmp_path):
    """Neither `repr` nor `str`, alone or inside others, nor a pretty printer says it."""
    made = HOLDERS[name](tmp_path)
    watch = Watch()
    watch.hear(name, repr(made), str(made), repr([made]), f"{made}", pretty_repr(made))
    assert f"{type(made).__module__}.{type(made).__name__}" == name
    assert watch.escaped() == []


def test_a_watch_hears_a_secret_in_any_form():
    """As it is, as a URL, JSON or Python writes it, and in base64 wherever it begins."""
    for said in (
        SECRETS["BODY"],
        quote(SECRETS["BODY"]),
        repr(SECRETS["BODY"]),
        json.dumps(SECRETS["BODY"]),
        *(httpx.BasicAuth(user, SECRETS["PROXY"])._auth_header for user in ("u", "us", "use")),
    ):
        watch = Watch()
        watch.hear("here", f"before {said} after")
        assert watch.escaped(), said
    quiet = Watch()
    quiet.hear("here", "a canary sings")
    assert quiet.escaped() == []


BROKEN_FILES = (
    'regions.US.proxy = "${CANARY_PROXY}"',
    'regions.US.proxy = "ftp://u:${CANARY_PROXY_URL}@h:1"',
    'regions.US.headers = {X = "${CANARY_BODY}"}',
    'options = {text = "a", url = "${CANARY_PROXY}"}',
    'options = {text = "a", url = "http://u:${CANARY_PROXY_URL}@h/"}',
    'options = {text = "a", url = "http://h/", method = "${CANARY_TOKEN}"}',
    'options = {text = "a", url = "http://h/", format = "${CANARY_TOKEN}"}',
    'options = {text = "a", url = "http://h/", key = "${CANARY_TOKEN}"}',
    'options = {text = "a", url = "http://h/", headers = {X = "${CANARY_BODY}"}}',
    'options = {text = "a", url = "http://h/", body = "${CANARY_BODY}"}',
    'options = {text = "a", url = "http://h/", read_timeout = "${CANARY_TOKEN}"}',
)
BAD_DATABASES = (
    "{raw}",
    "postgresql://u:{raw}@127.0.0.1/none",
    "postgresql://u:%zz{quoted}@127.0.0.1/none",
    "postgresql//u:{quoted}@127.0.0.1/none",
    "postgresql://u:{quoted}@127.0.0.1:x{quoted}/none",
    "postgresql://{quoted}/no:pass@h/none",
    "host=127.0.0.1 password='{raw}",
)


def broken_file(directory: Path, line: str) -> None:
    text = f'[surfaces.site]\nadapter = "http"\n{line}\n'
    discovery.build(holders.configured(directory, text), "site")


@pytest.mark.parametrize("line", BROKEN_FILES)
def test_a_fault_of_the_file_shows_no_value(tmp_path, line):
    """The error names the file, the line and the key; what was refused may be a secret."""
    with pytest.raises(ConfigError, match=r"parallax\.toml:3: surfaces\.site") as caught:
        broken_file(tmp_path, line)
    assert escaped(caught.value) == []


@pytest.mark.parametrize("url", BAD_DATABASES)
def test_a_database_url_that_libpq_would_repeat_is_refused_without_it(monkeypatch, url):
    """Libpq quotes what it cannot read; it is not asked, and the setting alone is named."""
    secret = SECRETS["DATABASE"]
    given = url.format(raw=secret, quoted=quote(secret, safe=""))
    monkeypatch.setenv("PARALLAX_DATABASE_URL", given)
    with pytest.raises(ConfigError, match="PARALLAX_DATABASE_URL: not a libpq URL") as caught:
        settings.load()
    assert escaped(caught.value) == []
    with pytest.raises(ValidationError) as direct:
        Settings(database_url=given)
    assert escaped(direct.value) == []


def test_a_secret_key_that_is_too_short_is_refused_without_it(monkeypatch):
    """The setting is named, and what a key has to be; not what was given."""
    given = SECRETS["SECRET_KEY"][:31]
    monkeypatch.setenv("PARALLAX_SECRET_KEY", given)
    with pytest.raises(ConfigError, match="PARALLAX_SECRET_KEY: at least 32") as caught:
        settings.load()
    watch = Watch({"SECRET_KEY": given})
    watch.hear("error", str(caught.value), *traceback.format_exception(caught.value))
    assert watch.escaped() == []


BAD_SUBMISSIONS = (
    {"webhook": {"secret": SECRETS["WEBHOOK"]}},
    {"webhook": {"url": SECRETS["WEBHOOK"], "secret": f"whsec_{SECRETS['WEBHOOK']}"}},
    {"webhook": {"url": f"http://u:{SECRETS['TOKEN']}@127.0.0.1/", "secret": SECRETS["WEBHOOK"]}},
    {"webhook": {"url": f"https://h.example/?{SECRETS['TOKEN']} ", "events": [SECRETS["WEBHOOK"]]}},
    {"webhook": {"secret": [SECRETS["WEBHOOK"]], "events": SECRETS["WEBHOOK"]}},
    {"webhook": {"secret": SECRETS["WEBHOOK"] * 9}},
    {"webhook": {"secret": SECRETS["WEBHOOK"] + "\0"}},
    {"webhook": SECRETS["WEBHOOK"]},
)


@pytest.mark.parametrize("fields", BAD_SUBMISSIONS)
def test_a_fault_of_a_webhook_shows_neither_its_secret_nor_its_url(fields):
    """Not to the client, who may log it, nor in what pydantic raises."""
    body = {"query": "tea", "surfaces": ["site"], **fields}
    faults = requests.parse(json.dumps(body).encode(), Rules("US", 5))
    assert isinstance(faults, list)
    watch = Watch()
    watch.hear("faults", repr(faults))
    with pytest.raises(ValidationError) as caught:
        SubmitRequest.model_validate(body | {"priority": 0})
    assert watch.escaped() == escaped(caught.value) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///parallax",
        DATABASE,
        "postgresql://postgres@/parallax?host=/tmp/x&port=5432",
        "postgresql://u:p%40%2F@[::1]:5432,h2:5433/parallax?sslmode=require",
        "postgresql://u@%40abstract/parallax",
        "host=/tmp dbname=parallax",
    ],
)
def test_a_database_url_that_libpq_reads_is_taken(url):
    """Sockets, several hosts, IPv6, keywords: what libpq can connect to is not refused."""
    assert Settings(database_url=url, listen_url=url).listen_url == url


def escaped(error: BaseException) -> list[tuple[str, str, str]]:
    """The secrets in an error: its text, its repr, and its traceback with all it came from."""
    watch = Watch()
    watch.hear("error", str(error), repr(error), repr(vars(error)))
    watch.hear("traceback", "".join(traceback.format_exception(error)))
    return watch.escaped()


def broken_proxy() -> aiohttp.ClientError:
    where = aiohttp.RequestInfo(URL(UPSTREAM), "GET", {"Authorization": SECRETS["HEADER"]})
    return aiohttp.ClientHttpProxyError(where, (), status=407, message=SECRETS["PROXY"])


@pytest.mark.parametrize(
    "error",
    [
        broken_proxy(),
        aiohttp.InvalidURL(UPSTREAM),
        aiohttp.ServerDisconnectedError(SECRETS["HEADER"]),
        OSError(SECRETS["PROXY"]),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_the_network_says_of_a_call_is_put_in_our_own_words(error):
    """An upstream's, a proxy's or a library's words may hold the credentials of the call."""
    assert escaped(egress_errors.translated(error)) == []


def test_what_a_client_says_of_its_server_has_no_credentials():
    """A server behind a gate: its address is told without user, password and query."""
    url = f"{PROXY}/path?token={SECRETS['TOKEN']}"
    answer = httpx.Response(502, request=httpx.Request("GET", url), content=b"a proxy's page")
    for error in (
        client_errors.unreachable(url, httpx.ConnectError(url)),
        client_errors.unreachable(url, httpx.ReadTimeout(url)),
        client_errors.refused(answer),
    ):
        assert "http://127.0.0.1:1/path" in str(error)
        assert escaped(error) == []


@pytest.mark.parametrize("log", ["json", "console"])
def test_a_log_line_never_has_a_key_or_credentials(log, capsys):
    """Whoever says them, in an event, a field, a traceback or a library's warning.

    Nor a webhook secret that says of itself that it is one.
    """
    observability.configure(Settings(log=log, log_level="debug"))
    key, url = SECRETS["LOST_KEY"], f"{PROXY}/path"
    told = structlog.get_logger()
    told.info(f"asked {url}", request_id=key, path=f"/v1/jobs/{key}", nested={"url": [url]})
    told.info("signed", secret=SECRETS["SIGNING"], said=f"by {SECRETS['SIGNING']}, it seems")
    logging.getLogger("asyncio").error("Unclosed connection: %r, %s", URL(url), f"Bearer {key}")
    error = psycopg.OperationalError(f"could not reach {url} with {key}")
    told.error("role.failed", exc_info=error)
    logging.getLogger("psycopg").error("it failed", exc_info=error)
    said = capsys.readouterr().err
    assert "/path" in said
    watch = Watch()
    watch.hear("the log", said)
    assert watch.escaped() == []
