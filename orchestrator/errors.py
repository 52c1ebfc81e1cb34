"""The exceptions a person meets. Expected endings are values; these stop a command."""

BROKEN_CONFIGURATION = 78
"""The exit code (EX_CONFIG) by which a process tells its supervisor not to start it again."""

SUPERVISED = "PARALLAX_SUPERVISED"
"""In the environment of what `parallax up` starts: how many workers it keeps.

Who is supervised is started anew, and told once to stop; other callers get 1 for every failure.
"""


class ParallaxError(Exception):
    """Something a person can mend; its text is one clear line and says how."""


class ConfigError(ParallaxError):
    """A setting or a line of `parallax.toml` cannot be used."""


class DatabaseUnavailableError(ParallaxError):
    """PostgreSQL cannot be reached or refuses to serve."""
