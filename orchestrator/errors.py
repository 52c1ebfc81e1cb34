"""The exceptions a person meets. Expected endings are values; these stop a command."""


class ParallaxError(Exception):
    """Something a person can mend; its text is one clear line and says how."""


class ConfigError(ParallaxError):
    """A setting or a line of `parallax.toml` cannot be used."""


class DatabaseUnavailableError(ParallaxError):
    """PostgreSQL cannot be reached or refuses to serve."""
