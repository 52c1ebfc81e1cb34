"""`parallax up` with tiny programs in place of the API and the workers."""

import os
import signal
import subprocess
import sys
import time
import urllib.request

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator import listening
from orchestrator.errors import ParallaxError
from orchestrator.supervisor import signals
from orchestrator.supervisor.loop import MARGIN_SECONDS, Loop
from orchestrator.supervisor.processes import (
    LONGEST_PAUSE_SECONDS,
    SOON_SECONDS,
    STALLED_SECONDS,
    Process,
    pause_seconds,
)
from tests.processes import REPOSITORY, gone

UP = """
import sys
from orchestrator import supervisor
from orchestrator.settings import load
_, api, workers, serve, work = sys.argv
sys.exit(supervisor.run(
    load(),
    api=int(api),
    workers=int(workers),
    on_ready=lambda url: print("ready", url, flush=True),
    serve=[sys.executable, "-c", serve],
    work=[sys.executable, "-c", work],
))
"""
SERVE = """
import http.server, os
from orchestrator import lifeline
from orchestrator.listening import inherited
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(str(os.getpid()).encode())
    def log_message(self, *_): pass
server = http.server.HTTPServer(("", 0), Handler, bind_and_activate=False)
server.socket.close()
server.socket = inherited()
lifeline.speak()
server.serve_forever()
"""
WORK = """
import os, signal
from orchestrator import lifeline
def drain(*_):
    os.write(1, b"drained\\n")
    raise SystemExit
signal.signal(signal.SIGTERM, drain)
os.write(1, f"worker {os.getpid()}\\n".encode())
lifeline.speak()
signal.pause()
"""
TELLING = WORK.replace("worker {os.getpid()}", "one of {os.environ['PARALLAX_SUPERVISED']}")
STUBBORN = WORK.replace("raise SystemExit", "signal.pause()")
MISCONFIGURED = "import sys; print('parallax.toml line 3: no', flush=True); sys.exit(78)"
PATIENT = {
    "PARALLAX_PORT": "0",
    "PARALLAX_DRAIN_SECONDS": "1000",  # no test passes by waiting for this
}


class Up:
    """A supervisor in a process of its own and what it and its children print."""

    def __init__(self, environment, *, api=0, workers=1, serve=SERVE, work=WORK):
        self.process = subprocess.Popen(
            [sys.executable, "-c", UP, str(api), str(workers), serve, work],
            cwd=REPOSITORY,
            env=os.environ | PATIENT | environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.kept = []

    def word(self, name):
        """What follows the next line's word `name`; other lines are kept for who asks for them."""
        kept = [line for line in self.kept if line.startswith(name)][:1]
        for line in kept or self.process.stdout:
            if line.startswith(name):
                if kept:
                    self.kept.remove(line)
                return line.removeprefix(name).strip()
            self.kept.append(line)
        raise AssertionError(f"it ended without a word of {name}")

    def logs(self, event):
        """Wait for a line with this event."""
        assert any(event in line for line in self.process.stdout), f"it ended without {event}"

    def pid(self):
        """The next worker's process id."""
        return int(self.word("worker"))

    def end(self):
        """The rest of what was printed, and the exit code."""
        rest, _ = self.process.communicate()
        return rest, self.process.returncode


@pytest.fixture
def up(database):
    """Starts a supervisor over a real database; killed at the end if a test has failed."""
    started = []

    def start(**given):
        started.append(Up({"PARALLAX_DATABASE_URL": database}, **given))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()
        one.process.wait()
        one.process.stdout.close()


def answering(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return int(answer.read())


@given(st.integers(min_value=1, max_value=10_000))
def test_pauses_grow_and_are_bounded(deaths):
    """Each death in a row makes the pause longer, up to a bound; the first is short."""
    assert pause_seconds(1) < 1
    assert pause_seconds(deaths) <= pause_seconds(deaths + 1) <= LONGEST_PAUSE_SECONDS


def test_a_taken_port_is_one_clear_error():
    """A second server on the port says so at once, before anything starts."""
    with listening.listen("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(ParallaxError, match=rf"port {port}.*--port"):
            listening.listen("127.0.0.1", port)


def test_a_wildcard_address_is_reached_by_loopback():
    """The URL shown for 0.0.0.0 is one that a client can call."""
    with listening.listen("0.0.0.0", 0) as everywhere:
        port = everywhere.getsockname()[1]
        assert listening.url(everywhere) == f"http://127.0.0.1:{port}"


def test_what_dies_is_started_again(up):
    """A worker killed with -9 is replaced, and the rest goes on."""
    running = up()
    first = running.pid()
    os.kill(first, signal.SIGKILL)
    assert running.pid() != first


def test_a_signal_drains_and_stops_everything(up):
    """SIGTERM: workers get to drain, nothing is left, exit 0."""
    running = up(api=1)
    worker, api = running.pid(), answering(running.word("ready"))
    running.process.terminate()
    rest, code = running.end()
    assert (code, rest.count("drained")) == (0, 1)
    assert gone(worker)
    assert gone(api)


def test_a_second_signal_does_not_wait(up):
    """Who asks twice means it: a worker that does not end is killed at once."""
    running = up(work=STUBBORN)
    worker = running.pid()
    running.process.send_signal(signal.SIGINT)
    running.word("drained")
    running.process.send_signal(signal.SIGINT)
    assert running.end()[1] == 0
    assert gone(worker)


def test_sigusr2_renews_everything_one_by_one(up):
    """Each process is replaced: the old one drains once the new one is there, and all answer."""
    running = up(api=1)
    worker, url = running.pid(), running.word("ready")
    api = answering(url)
    running.process.send_signal(signal.SIGUSR2)
    renewed = running.pid()
    running.word("drained")
    assert gone(worker)
    assert gone(api)
    running.logs("up.renewed")
    assert answering(url) != api
    running.process.terminate()
    rest, code = running.end()
    assert (code, rest.count("drained")) == (0, 1)
    assert gone(renewed)


@pytest.mark.parametrize("fault", ["raise SystemExit(3)", "raise SystemExit(78)"])
def test_what_does_not_come_up_leaves_the_old_one_running(up, tmp_path, fault):
    """The log says so, and whatever is wrong with the new one stops nobody."""
    once = tmp_path / "once"
    second = f"import os\nif os.path.exists({str(once)!r}): {fault}\nopen({str(once)!r}, 'w')\n"
    running = up(api=1, work=second + WORK)
    worker, url = running.pid(), running.word("ready")
    api = answering(url)
    running.process.send_signal(signal.SIGUSR2)
    running.logs("process.not_renewed")
    assert answering(url) == api
    running.process.terminate()
    rest, code = running.end()
    assert (code, rest.count("drained")) == (0, 1)
    assert gone(worker)


def test_a_stop_in_the_middle_of_a_renewal_stops_everything(up):
    """The one that drains already is not told a second time: it takes its time."""
    running = up(work=STUBBORN)
    old = running.pid()
    running.word("ready")
    running.process.send_signal(signal.SIGUSR2)
    new = running.pid()
    running.word("drained")
    running.process.terminate()
    assert running.word("drained") == ""
    running.process.terminate()
    rest, code = running.end()
    assert (code, rest.count("drained")) == (0, 0)
    assert gone(old)
    assert gone(new)


def test_one_that_falls_silent_is_killed_and_starts_again_soon():
    """It was there, and nobody can tell what holds it up; what never was there is waited for."""
    worker = Process(name="worker", argv=[sys.executable, "-c", WORK], environment=os.environ)
    later = time.monotonic() + STALLED_SECONDS + 60
    worker.start_if_due(time.monotonic())
    assert not worker.stalled(later)
    while not worker.ready(now := time.monotonic()):
        pass
    assert not worker.stalled(now + STALLED_SECONDS)
    assert worker.stalled(later)
    worker.deaths = 20
    worker.abort()
    while (code := worker.reap(now)) is None:
        pass
    assert (code, worker.running) == (-signal.SIGKILL, False)
    assert now < worker.due_at <= now + SOON_SECONDS < now + pause_seconds(worker.deaths)


def test_what_does_not_drain_in_time_is_killed():
    """A stop ends: past the drain time and its margin a worker is not asked any more."""
    worker = Process(name="worker", argv=[sys.executable, "-c", STUBBORN], environment=os.environ)
    with signals.caught() as received:
        loop = Loop(
            signals=received,
            processes=[worker],
            drain_seconds=-MARGIN_SECONDS,
            ready=lambda: True,
            on_ready=lambda: None,
            tick=lambda: None,
        )
        worker.start_if_due(0.0)
        assert worker.running
        loop.stop()
    assert not worker.running


def test_nothing_survives_a_killed_supervisor(up):
    """Kill -9 of the supervisor: its children drain and end too."""
    running = up(api=1)
    worker, api = running.pid(), answering(running.word("ready"))
    running.process.kill()
    assert gone(worker)
    assert gone(api)


def test_broken_configuration_stops_everything(up):
    """A child that ends with 78 is not started again: all stops, its message seen, exit 1."""
    running = up(api=1, work=MISCONFIGURED)
    rest, code = running.end()
    assert code == 1
    assert rest.count("parallax.toml line 3") == 1


def test_what_never_starts_is_given_up(up):
    """A program that dies again and again before anything was ready ends the whole, exit 1."""
    running = up(work="import sys; print('no luck', flush=True); sys.exit(3)", api=1, serve="")
    rest, code = running.end()
    assert code == 1
    assert 1 < rest.count("no luck") < 10


def test_workers_know_how_many_they_are(up):
    """They share what memory there is."""
    running = up(workers=2, work=TELLING)
    assert [running.word("one of") for _ in range(2)] == ["2", "2"]
    running.process.terminate()
    assert running.end()[1] == 0


def test_api_processes_share_the_port(up):
    """With one of two API processes killed, the other answers at the same address at once."""
    running = up(api=2, workers=0)
    url = running.word("ready")
    killed = answering(url)
    os.kill(killed, signal.SIGKILL)
    assert gone(killed)
    assert answering(url) != killed


def test_the_embedded_server_goes_with_its_supervisor(tmp_path):
    """Without a database one is started, and even kill -9 leaves neither it nor a child behind."""
    running = Up({"PARALLAX_DATA_DIR": str(tmp_path)})
    worker = running.pid()
    server = int((tmp_path / "postgres" / "postmaster.pid").read_text().split()[0])
    running.process.kill()
    running.process.communicate()
    assert gone(worker)
    assert gone(server)
