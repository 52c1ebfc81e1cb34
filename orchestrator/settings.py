"""Settings from the environment (`PARALLAX_…`), read once at the edge and passed down."""

from pathlib import Path
from typing import Annotated, Literal

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    ValidationError,
    field_validator,
)
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from orchestrator import durations, secret_keys
from orchestrator.domain import addresses
from orchestrator.domain.addresses import Network
from orchestrator.errors import ConfigError

Seconds = Annotated[float, Field(ge=0)]
DAY = 86_400.0


def _kept(written: object) -> float:
    try:
        seconds = durations.seconds(written)
    except ValueError:
        seconds = 0.0
    if not DAY <= seconds <= 10_000 * DAY:
        raise ValueError('a duration from "24h" to "10000d"')
    return seconds


Retention = Annotated[float, BeforeValidator(_kept)]
"""Seconds, at least a day's: for so long an idempotency key is promised to be known."""


def _sealing(keys: str | None) -> str | None:
    if keys:
        secret_keys.split(keys)
    return keys or None


SecretKey = Annotated[str | None, AfterValidator(_sealing), Field(repr=False)]
"""As `sealing.Sealer` takes it; no `repr` shows it, and no message repeats it."""


def _networks(written: object) -> object:
    return addresses.networks(written) if isinstance(written, str) else written


Networks = Annotated[tuple[Network, ...], NoDecode, BeforeValidator(_networks)]
"""CIDRs, in the environment separated by commas or spaces."""
DatabaseUrl = Annotated[str | None, Field(repr=False)]
"""It may hold a password: no `repr` shows it, and no message repeats it."""


def default_data_dir() -> Path:
    """Where the embedded database lives without `PARALLAX_DATA_DIR`."""
    return Path.home() / ".local" / "share" / "parallax"


LEAST_MEMORY_BYTES = 256 * 1024 * 1024


class Settings(BaseSettings):
    """Every setting of the server. `database_url` None means the embedded PostgreSQL."""

    model_config = SettingsConfigDict(
        env_prefix="PARALLAX_", frozen=True, extra="ignore", hide_input_in_errors=True
    )

    database_url: DatabaseUrl = None
    listen_url: DatabaseUrl = None
    data_dir: Path = Field(default_factory=default_data_dir)
    config: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    default_country: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")] = "US"
    max_children: Annotated[int, Field(ge=1, le=10_000)] = 500
    sync_max_children: Annotated[int, Field(ge=1, le=1_000)] = 20
    sync_wait: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    sync_wait_max: Annotated[float, Field(ge=1, le=86_400)] = 300.0
    drain_seconds: Seconds = 30.0
    retention: Retention = 7 * DAY
    worker_memory: Annotated[ByteSize, Field(ge=LEAST_MEMORY_BYTES)] | None = None
    secret_key: SecretKey = None
    allow_networks: Networks = ()
    metrics_public: bool = False
    rodin_scope: Literal["server", "key"] = "server"
    log: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("default_country")
    @classmethod
    def _upper(cls, country: str) -> str:
        return country.upper()

    @field_validator("database_url", "listen_url")
    @classmethod
    def _usable(cls, url: str | None) -> str | None:
        if not url:
            return None
        if not _sound(url):
            raise ValueError(
                "not a libpq URL: postgresql://user:password@host:port/database, with every"
                " character of the password but letters, digits and -._~ percent-encoded"
            )
        return url


def load() -> Settings:
    """The settings of this process; a bad value is a `ConfigError` that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"PARALLAX_{str(fault['loc'][0]).upper()}: {_reason(fault)}" for fault in error.errors()
        )
        raise ConfigError(faults) from None


def _reason(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ")


def _sound(url: str) -> bool:
    """Whether libpq reads it as it was meant, and would not repeat a part of a password later.

    An `@` or `/` in a password that is not encoded makes a part of it the host or the port.
    """
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError:
        return False
    hosts, ports = str(parts.get("host", "")).split(","), str(parts.get("port", "")).split(",")
    return all("@" not in host[1:] for host in hosts) and all(
        port.isdecimal() for port in ports if port
    )
