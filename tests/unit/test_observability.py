"""What the logs say, and what they never say."""

import json
import logging

import pytest
import structlog

from orchestrator import observability
from orchestrator.settings import Settings

SECRET = "sk_live_" + "a" * 43


@pytest.mark.parametrize("log", ["console", "json"])
def test_a_traceback_shows_no_local_variable(log, capsys):
    """A request's locals hold its caller's secret; a logged exception must not print them."""
    observability.configure(Settings(log=log))

    def handler(secret):
        raise ValueError("broken")

    try:
        handler(SECRET)
    except ValueError:
        structlog.get_logger().exception("request.failed")
    said = capsys.readouterr().err
    assert "request.failed" in said
    assert "broken" in said
    assert SECRET not in said


def test_json_logs_are_one_object_a_line(capsys):
    """`PARALLAX_LOG=json` is read by machines, exceptions included."""
    observability.configure(Settings(log="json"))
    structlog.get_logger().info("node.started", node=1)
    line = json.loads(capsys.readouterr().err)
    assert (line["event"], line["level"], line["node"]) == ("node.started", "info", 1)


def test_warnings_of_libraries_come_in_the_same_form(capsys):
    """A pool that loses its database warns through the standard library, and is JSON too."""
    observability.configure(Settings(log="json"))
    logging.getLogger("psycopg.pool").warning("error connecting in %r", "worker")
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "error connecting in 'worker'"
    assert line["level"] == "warning"


def test_the_level_is_kept(capsys):
    """Nothing below `PARALLAX_LOG_LEVEL` is written."""
    observability.configure(Settings(log_level="warning"))
    structlog.get_logger().info("node.started")
    assert not capsys.readouterr().err
