"""The key that secrets are sealed with, kept in a file where nobody has set one."""

import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from orchestrator import secret_keys
from orchestrator.errors import ConfigError
from tests.processes import REPOSITORY

AT_ONCE = 8
KEEPER = (
    "import sys; from pathlib import Path; from orchestrator import secret_keys\n"
    "sys.stdin.readline(); print(secret_keys.kept(Path(sys.argv[1])))"
)


def test_a_key_is_made_once_for_its_owner_alone(tmp_path):
    """Nobody else may read the file; whoever asks again gets the same, and nothing else is left."""
    key = secret_keys.kept(tmp_path)
    assert secret_keys.split(key) == [key]
    assert secret_keys.kept(tmp_path) == key
    (file,) = tmp_path.iterdir()
    assert file.name == "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert file.read_text() == f"{key}\n"


def test_each_directory_has_a_key_of_its_own(tmp_path):
    """It is random."""
    made = [tmp_path / name for name in ("one", "other")]
    for directory in made:
        directory.mkdir()
    assert len({secret_keys.kept(directory) for directory in made}) == 2


def test_all_who_ask_at_once_get_the_same(tmp_path):
    """Threads of one process, all past the look whether there is one: one key, one file."""
    barrier = Barrier(AT_ONCE)

    def ask():
        barrier.wait()
        return secret_keys.kept(tmp_path)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = [pool.submit(ask) for _ in range(AT_ONCE)]
        assert len({one.result() for one in asked}) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["secret.key"]


def test_two_commands_that_start_at_once_get_the_same(tmp_path):
    """Processes are no different."""
    command = [sys.executable, "-c", KEEPER, str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    started = [subprocess.Popen(command, cwd=REPOSITORY, **pipes) for _ in range(2)]
    for process in started:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate()[0].strip() for process in started]
    assert set(said) == {secret_keys.kept(tmp_path)}


def test_a_rotated_file_is_read_as_it_is(tmp_path):
    """Several keys, as the variable may have them: the operator's file is never written to."""
    keys = f"{'n' * 40}, {'o' * 40}"
    (tmp_path / "secret.key").write_text(keys)
    assert secret_keys.kept(tmp_path) == keys
    assert (tmp_path / "secret.key").read_text() == keys


@pytest.mark.parametrize("said", [b"", b"short", b"\xff" * 40, b"x" * 40 + b",y"])
def test_a_file_without_a_key_is_not_made_anew(tmp_path, said):
    """What was sealed would be lost: the error names the file and what to do, not what is in it."""
    file = tmp_path / "secret.key"
    file.write_bytes(said)
    with pytest.raises(ConfigError, match="put the key back") as caught:
        secret_keys.kept(tmp_path)
    assert str(file) in str(caught.value)
    assert "xxx" not in str(caught.value)
    assert file.read_bytes() == said


def test_a_file_that_cannot_be_read_is_told(tmp_path):
    """As any other reason why there is no key."""
    (tmp_path / "secret.key").mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        secret_keys.kept(tmp_path)
    with pytest.raises(ConfigError, match="No such file or directory"):
        secret_keys.kept(tmp_path / "nowhere")


@pytest.mark.parametrize("keys", ["", " , ", "x" * 31, f"{'x' * 32},y"])
def test_a_key_has_32_characters_at_least(keys):
    """Each of those given; the message says how to make one."""
    with pytest.raises(ValueError, match="openssl rand -hex 32"):
        secret_keys.split(keys)


def test_a_key_that_is_set_goes_before_the_one_that_was_kept(tmp_path):
    """What was sealed before anybody set one is opened as before."""
    given = "k" * 32
    assert secret_keys.beside(given, tmp_path) == given
    before = secret_keys.beside(None, tmp_path)
    assert before == secret_keys.kept(tmp_path)
    assert secret_keys.beside(given, tmp_path) == f"{given},{before}"
