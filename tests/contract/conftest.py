"""The real application, for the documents only it makes."""

from tests.api.conftest import app, assembled, client, issue, opened, registered, settings, worker

__all__ = ["app", "assembled", "client", "issue", "opened", "registered", "settings", "worker"]
