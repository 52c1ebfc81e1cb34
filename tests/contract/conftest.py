"""The real application, for the documents only it makes."""

import pytest

from orchestrator.settings import Settings
from tests.api.conftest import anonymous, app, assembled, client, issue, opened, registered, worker
from tests.contract.canaries import SECRETS

__all__ = ["anonymous", "app", "assembled", "client", "issue", "opened", "registered", "worker"]


@pytest.fixture
def settings(database) -> Settings:
    return Settings(database_url=database, secret_key=SECRETS["SECRET_KEY"])
