"""The command line as a shell sees it: usage, exit codes, one line for what fails."""

import socket
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app

COMMANDS = (
    "deliveries",
    "demo",
    "doctor",
    "init",
    "keys",
    "lanes",
    "migrate",
    "openapi",
    "results",
    "serve",
    "status",
    "submit",
    "surfaces",
    "up",
    "watch",
    "work",
)
HEAVY = ("alembic", "httpx", "litestar", "psycopg", "pydantic_settings", "sqlalchemy", "uvicorn")


def parallax(*arguments: str, **environment: str | None):
    unset = {"PARALLAX_API_KEY": None, "PARALLAX_URL": None}
    return CliRunner().invoke(app, arguments, env=unset | environment)


@pytest.fixture
def nobody():
    """A URL where nothing answers: the port is taken, but nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


def test_help_names_every_command():
    """Whoever types `parallax --help` sees all that can be done, and exit code 0."""
    shown = parallax("--help", NO_COLOR="1", COLUMNS="200")
    assert shown.exit_code == 0
    assert [name for name in COMMANDS if f" {name} " not in shown.output] == []


@pytest.mark.parametrize(
    "command", [*COMMANDS, "keys create", "keys list", "lanes pause", "deliveries replay"]
)
def test_every_command_explains_itself(command):
    """`--help` after any command explains it."""
    shown = parallax(*command.split(), "--help")
    assert shown.exit_code == 0
    assert "Usage" in shown.output


@pytest.mark.parametrize(
    "wrong",
    [
        "nonsense",
        "submit",
        "submit q",
        "submit q -s chatgpt --priority 11",
        "submit q -s chatgpt -r US/a/b/c",
        "submit q -s chatgpt -r /London",
        "keys create",
        "keys create \t",
        "keys create " + "x" * 65,
        "keys create x --rate 0",
        "keys create x --weight 0",
        "keys create x --role king",
        "keys create x --expires yesterday",
        "keys create x --expires 2001-01-01",
        "keys rotate x --overlap soon",
        "lanes stop chatgpt US",
        "lanes pause chatgpt",
        "lanes limit chatgpt US",
        "lanes limit chatgpt US 0",
        "lanes limit chatgpt US -1",
        "lanes limit chatgpt US 1.5",
        "lanes limit chatgpt US \u0663",
        "lanes limit chatgpt US 100001",
        "lanes limit chatgpt US many",
        "deliveries list --status failed",
        "deliveries list --limit 0",
        "deliveries replay",
        "deliveries replay x --since 2h",
        "deliveries replay x --until 2h",
        "deliveries replay x --status dead",
        "deliveries replay --until 2h",
        "deliveries replay --since soon",
        "deliveries replay --since 2h --until later",
        "deliveries replay --since 2h --until 3h",
        "deliveries replay --since 2999-01-01",
        "up --port 70000",
        "up --api -1",
        "work --slots 0",
        "watch",
        "results",
    ],
)
def test_wrong_usage_is_exit_code_2(wrong):
    """Wrong usage is told on stderr with exit code 2, before anything is touched."""
    told = parallax(*wrong.split(" "))
    assert told.exit_code == 2
    assert told.stdout == ""
    assert told.stderr


@pytest.mark.parametrize(
    "command",
    [
        *("status", "status --json", "submit q -s a", "watch x", "deliveries list"),
        *("deliveries replay x --json", "deliveries replay --since 2h --status dead"),
    ],
)
def test_a_missing_server_is_one_line(command, nobody):
    """Where no server answers stderr has one line that says so; stdout nothing; exit code 1."""
    told = parallax(*command.split(), PARALLAX_URL=nobody, PARALLAX_API_KEY="sk")
    assert told.exit_code == 1
    assert told.stdout == ""
    assert told.stderr.count("\n") == 1
    assert f"No Parallax server answers at {nobody}" in told.stderr


def test_a_missing_key_is_one_line(nobody):
    """Without a key the line says how to get one."""
    told = parallax("status", PARALLAX_URL=nobody)
    assert told.exit_code == 1
    assert "PARALLAX_API_KEY is not set" in told.stderr


@pytest.mark.parametrize(
    "command", ["keys list", "lanes", "lanes pause a US", "migrate", "doctor --json", "serve"]
)
def test_a_database_that_is_away_is_one_line(command):
    """Where PostgreSQL cannot be reached there is one line, no traceback; exit code 1."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"postgresql://x@127.0.0.1:{taken.getsockname()[1]}/x"
        told = parallax(*command.split(), PARALLAX_DATABASE_URL=url)
    assert told.exit_code == 1
    assert told.stdout == ""
    assert told.stderr.startswith("parallax: PostgreSQL cannot be reached")
    assert told.stderr.count("\n") == 1


def test_a_bad_setting_is_named():
    """A variable that cannot be used is named in one line."""
    told = parallax("keys", "list", PARALLAX_PORT="many")
    assert told.exit_code == 1
    assert "PARALLAX_PORT" in told.stderr


def test_help_loads_nothing_heavy():
    """`parallax --help` stays quick and small: no database, HTTP or server library is imported."""
    code = (
        "import sys\n"
        "from orchestrator.cli.app import app\n"
        "app(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"
