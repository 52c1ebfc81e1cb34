"""Settings from the environment (`PARALLAX_…`), read once at the edge and passed down."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from orchestrator.errors import ConfigError

Seconds = Annotated[float, Field(ge=0)]


def default_data_dir() -> Path:
    """Where the embedded database lives without `PARALLAX_DATA_DIR`."""
    return Path.home() / ".local" / "share" / "parallax"


class Settings(BaseSettings):
    """Every setting of the server. `database_url` None means the embedded PostgreSQL."""

    model_config = SettingsConfigDict(env_prefix="PARALLAX_", frozen=True, extra="ignore")

    database_url: str | None = None
    listen_url: str | None = None
    data_dir: Path = Field(default_factory=default_data_dir)
    config: Path | None = None
    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    default_country: Annotated[str, Field(pattern=r"^[A-Za-z]{2}$")] = "US"
    max_children: Annotated[int, Field(ge=1, le=10_000)] = 500
    drain_seconds: Seconds = 30.0
    log: Literal["console", "json"] = "console"
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("default_country")
    @classmethod
    def _upper(cls, country: str) -> str:
        return country.upper()

    @field_validator("database_url", "listen_url")
    @classmethod
    def _filled(cls, url: str | None) -> str | None:
        return url or None


def load() -> Settings:
    """The settings of this process; a bad value is a `ConfigError` that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "; ".join(
            f"PARALLAX_{str(fault['loc'][0]).upper()}: {fault['msg']}" for fault in error.errors()
        )
        raise ConfigError(faults) from None
