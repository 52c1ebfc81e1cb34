"""Each command once, as a user runs it: real processes, a real server, a database of its own."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import psycopg
import pytest

NOBODY = "http://127.0.0.2:8081/hook"
PARALLAX = (sys.executable, "-m", "orchestrator")
CONFIGURATION = """
[surfaces.quick]
adapter = "simulator"
[surfaces.quick.options]
latency_ms = 0

[surfaces.slow]
adapter = "simulator"
timeout = "2m"
[surfaces.slow.options]
latency_ms = 60000

[surfaces.broken]
adapter = "http"
attempts = 1
[surfaces.broken.options]
url = "http://127.0.0.1:{closed}/"
format = "json"
text = "answer"
"""


class Shell(NamedTuple):
    """An environment in which commands reach one server."""

    environment: dict[str, str]

    def __call__(self, *arguments: str, code: int = 0, **more: str) -> str:
        """Run a command, demand its exit code, and return its stdout."""
        done = subprocess.run(
            [*PARALLAX, *arguments],
            env=self.environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert "\x1b" not in done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stdout if code == 0 else done.stderr

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """A command that goes on, its stdout a pipe."""
        return subprocess.Popen(
            [*PARALLAX, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def outside() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("PARALLAX_")}


def told(process: subprocess.Popen[str], pattern: str) -> str:
    """The first match of `pattern` in what the process prints; it ends if there is none."""
    assert process.stdout is not None
    for line in process.stdout:
        if match := re.search(pattern, line):
            return match[1]
    raise AssertionError(process.communicate()[1])


def eventually(shell: Shell, *arguments: str, code: int = 0) -> bool:
    """Whether the command ends so, tried anew (a try takes a good while) until it does."""
    for _ in range(40):
        command = [*PARALLAX, *arguments]
        done = subprocess.run(command, env=shell.environment, capture_output=True, check=False)
        if done.returncode == code:
            return True
    return False


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Iterator[Path]:
    """Where the server keeps its data and finds its configuration."""
    made = tmp_path_factory.mktemp("cli")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        text = CONFIGURATION.format(closed=closed.getsockname()[1])
        (made / "parallax.toml").write_text(text)
        yield made


@pytest.fixture(scope="module")
def shell(directory) -> Iterator[Shell]:
    """A shell beside `parallax up --play`, with the key it printed; stopped in order at the end."""
    environment = outside() | {
        "PARALLAX_DATA_DIR": str(directory / "data"),
        "PARALLAX_CONFIG": str(directory / "parallax.toml"),
        "PARALLAX_ALLOW_NETWORKS": "127.0.0.0/8",
        "PARALLAX_DRAIN_SECONDS": "1",
    }
    server = Shell(environment).start("up", "--play", "--port", "0")
    try:
        url = told(server, r"export PARALLAX_URL=(\S+)")
        key = told(server, r"export PARALLAX_API_KEY=(\S+)")
        yield Shell(environment | {"PARALLAX_URL": url, "PARALLAX_API_KEY": key})
        server.terminate()
        said, errors = server.communicate(timeout=60)
        assert server.returncode == 0, said + errors
    finally:
        server.kill()


def test_submit_and_wait_prints_the_answers(shell):
    """`submit --wait` ends with a row an answer; with `--json` with the job and its Envelopes."""
    table = shell("submit", "q", "-s", "quick", "-r", "US,GB", "--wait")
    assert table.count("quick") == 2
    assert "https://" in table
    read = json.loads(shell("submit", "q", "-s", "quick", "-r", "US", "--wait", "--json"))
    assert read["job"]["status"] == "completed"
    assert [child["job"]["region"] for child in read["children"]] == ["US"]


def test_a_job_is_submitted_watched_and_read_by_its_id(shell):
    """`submit` prints the id alone; `watch` follows it to its end; `results` has every cell."""
    job = shell("submit", "q", "-s", "quick", "-r", "US", "-r", "GB/London").strip()
    assert re.fullmatch(r"job_\w+", job)
    assert "completed · 2 of 2 cells ended" in shell("watch", job)
    assert json.loads(shell("watch", job, "--json"))["job"]["counts"]["completed"] == 2
    assert "GB/London" in shell("results", job)
    envelopes = json.loads(shell("results", job, "--json"))
    assert [envelope["job"]["id"] for envelope in envelopes] == [
        f"{job}.quick.us",
        f"{job}.quick.gb_london",
    ]
    assert all(envelope["answer"]["text"] for envelope in envelopes)


def test_a_job_that_failed_is_exit_code_1(shell):
    """Scripts see by the exit code that nothing was captured, people see why."""
    job = shell("submit", "q", "-s", "broken", "-r", "US").strip()
    shell("watch", job, code=1)
    assert "CONNECT_FAILED" in shell("results", job)


def test_what_was_told_is_listed_and_told_again(shell):
    """`deliveries`: the newest first, as a table or as JSON; one by its id, or all of a time."""
    asked = ("submit", "q", "-s", "quick", "-r", "US", "--webhook", NOBODY, "--wait", "--json")
    job = json.loads(shell(*asked))["job"]["id"]
    found = json.loads(shell("deliveries", "list", "--limit", "2", "--json"))
    assert {one["jobId"].partition(".")[0] for one in found} == {job}
    assert {one["url"] for one in found} == {NOBODY}
    assert found[0]["id"] in shell("deliveries", "list", "--status", "pending")
    assert json.loads(shell("deliveries", "list", "--status", "delivered", "--json")) == []
    again = json.loads(shell("deliveries", "replay", found[0]["id"], "--json"))
    assert (again["id"], again["attempts"]) == (found[0]["id"], 0)
    assert found[0]["type"] in shell("deliveries", "replay", found[0]["id"])
    all_of = ("deliveries", "replay", "--since", "1h")
    assert json.loads(shell(*all_of, "--json"))["matched"] >= 2
    assert shell(*all_of, "--status", "delivered").strip() == "0 are sent again."
    assert "NOT_FOUND" in shell("deliveries", "replay", "dlv_x", code=1)
    line = shell("submit", "q", "-s", "quick", "--webhook", "http://10.0.0.1/", code=1)
    assert "webhook.url" in line


def test_a_server_with_its_own_database_keeps_secrets(shell, directory):
    """It has made a key to seal them with, beside its data, which only its user may read."""
    file = directory / "data" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    key = {"Authorization": f"Bearer {shell.environment['PARALLAX_API_KEY']}"}
    url = f"{shell.environment['PARALLAX_URL']}/v1/webhooks/secrets"
    assert httpx.post(url, headers=key, trust_env=False).status_code == 201


def test_a_refusal_is_one_line(shell):
    """What the server refuses is told by its code and message, exit code 1."""
    assert "UNSUPPORTED_SURFACE" in shell("submit", "q", "-s", "nowhere", code=1)
    assert "JOB_NOT_FOUND" in shell("results", "job_nothing", code=1)
    made = json.loads(shell("keys", "create", "full", "--queue-capacity", "0", "--json"))
    line = shell("submit", "q", "-s", "quick", code=1, PARALLAX_API_KEY=made["key"])
    assert line.startswith("parallax: QUEUE_CAPACITY_EXCEEDED: ")
    assert line.count("\n") == 1


def test_ctrl_c_is_quiet(shell):
    """Ctrl-C ends a watch at once: exit code 130, no traceback, and the job goes on."""
    job = shell("submit", "q", "-s", "slow", "-r", "US").strip()
    watching = shell.start("watch", job)
    told(watching, r"(\d) of 1 cells ended")
    watching.send_signal(signal.SIGINT)
    _, errors = watching.communicate(timeout=30)
    assert watching.returncode == 130
    assert errors == ""


def test_a_queue_is_a_lane(shell):
    """Of the country GLOBAL: paused and resumed as any."""
    paused = json.loads(shell("lanes", "pause", "queue_default", "global", "--json"))
    assert (paused["surface"], paused["country"], paused["paused"]) == (
        *("queue_default", "GLOBAL"),
        True,
    )
    shell("lanes", "resume", "queue_default", "GLOBAL")
    assert "GLOBAL" in shell("lanes")


def test_status_shows_the_room(shell):
    """The snapshot is a document for scripts, and tables for people."""
    snapshot = json.loads(shell("status", "--json"))
    assert snapshot["headroom"]["async"] == snapshot["admissionQueue"]["capacity"]
    assert "admission queue" in shell("status")


def test_a_key_lives_by_its_commands(shell):
    """Created, listed, limited, rotated and revoked; its secret is only ever shown when made."""
    made = json.loads(shell("keys", "create", "mine", "--rate", "60", "--expires", "1d", "--json"))
    assert made["limits"]["requestsPerMinute"] == 60
    assert "exists" in shell("keys", "create", "mine", code=1)
    assert "No key is named" in shell("keys", "rotate", "yours", code=1)
    limited = json.loads(shell("keys", "limits", "mine", "--concurrency", "3", "--json"))
    assert limited["limits"] == made["limits"] | {"concurrency": 3}
    rotated = shell("keys", "rotate", "mine", "--overlap", "0s").strip()
    assert "INVALID" in shell("status", code=1, PARALLAX_API_KEY=made["key"])
    assert json.loads(shell("status", "--json", PARALLAX_API_KEY=rotated))
    listed = shell("keys", "list", "--json")
    assert "mine" in shell("keys", "list")
    assert made["key"] not in listed
    assert rotated not in listed
    assert limited | {"expiresAt": None} in json.loads(listed)  # the newest secret never ends
    assert json.loads(shell("keys", "revoke", "mine", "--json")) == {"name": "mine", "revoked": 1}
    revoked = Shell(shell.environment | {"PARALLAX_API_KEY": rotated})
    assert eventually(revoked, "status", code=1)


def test_a_key_may_spend_what_it_is_given(shell):
    """Credits, quotas, shared calls: given, shown, changed, taken away; no number is said."""
    given = ("--credits", "100", "--quota-daily", "5", "--no-coalesce", "--json")
    made = json.loads(shell("keys", "create", "spender", *given))
    assert made["credits"] == 100
    assert (made["limits"]["quotaDaily"], made["limits"]["quotaMonthly"]) == (5, None)
    assert made["limits"]["coalesce"] is False
    changed = ("--credits", "unlimited", "--quota-daily", "none", "--quota-monthly", "9")
    limited = json.loads(shell("keys", "limits", "spender", *changed, "--coalesce", "--json"))
    assert limited["credits"] is None
    new = {"quotaDaily": None, "quotaMonthly": 9, "coalesce": True}
    assert limited["limits"] == made["limits"] | new
    assert json.loads(shell("keys", "limits", "spender", "--json")) == limited
    shell("keys", "limits", "spender", "--credits", "7")
    assert re.search(r"spender .* 9 +7 ", shell("keys", "list", COLUMNS="200"))
    for bad in ("--credits=-1", "--credits=many", "--quota-daily=unlimited", "--quota-monthly=1.5"):
        shell("keys", "limits", "spender", bad, code=2)


def test_the_schema_is_up_to_date_beside_a_server(shell):
    """`up` has migrated, so there is nothing left to apply."""
    assert json.loads(shell("migrate", "--plan", "--json")) == {"pending": []}
    assert json.loads(shell("migrate", "--json")) == {"applied": []}


def test_the_api_is_described(shell):
    """`openapi` prints the document, also without a server."""
    assert json.loads(shell("openapi"))["openapi"].startswith("3.")


def test_doctor_finds_a_counter_that_lies(database):
    """Exit code 0 while all agree; 1 with the counter, what it says and what a recount says."""
    shell = Shell(outside() | {"PARALLAX_DATABASE_URL": database})
    key = json.loads(shell("keys", "create", "k", "--json"))["id"]
    assert json.loads(shell("doctor", "--json")) == []
    assert "equals a recount" in shell("doctor")
    with psycopg.connect(database) as connection:
        connection.execute("UPDATE usage SET depth = 7 WHERE key_id = %s", [key])
    assert "1 counter is wrong" in shell("doctor", code=1)


def test_processes_of_their_own_serve_too(database, directory):
    """`serve` and `work` on one database are a server; SIGTERM ends each with exit code 0."""
    environment = outside() | {
        "PARALLAX_DATABASE_URL": database,
        "PARALLAX_CONFIG": str(directory / "parallax.toml"),
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    shell = Shell(environment | {"PARALLAX_URL": f"http://127.0.0.1:{port}"})
    key = json.loads(shell("keys", "create", "k", "--json"))["key"]
    processes = [
        shell.start("serve", "--port", port),
        shell.start("work", "--slots", "4", "--surfaces", "quick"),
    ]
    try:
        served = Shell(shell.environment | {"PARALLAX_API_KEY": key})
        assert eventually(served, "submit", "q", "-s", "quick", "-r", "US", "--wait")
    finally:
        for process in processes:
            process.terminate()
        ends = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ends
