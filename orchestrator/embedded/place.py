"""Where everything of one embedded server is."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

_LONGEST_SOCKET_DIRECTORY = 107 - len("/.s.PGSQL.5432")  # sockaddr_un of Linux


@dataclass(frozen=True, kw_only=True)
class Place:
    """The files of one embedded server, all below its data directory (absolute, resolved)."""

    data_dir: Path

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.data_dir / "postgres"

    @property
    def log(self) -> Path:
        """What the server and its guardian said."""
        return self.data_dir / "postgres.log"

    def lock(self, name: str) -> Path:
        """One of the three lock files: `users`, `start` or `server`."""
        return self.data_dir / "run" / name

    @property
    def sockets(self) -> Path:
        """The socket's directory: in the cluster, or a short one where that path cannot be used."""
        whole = os.fsencode(self.cluster)
        if len(whole) <= _LONGEST_SOCKET_DIRECTORY and b"," not in whole:  # libpq splits at commas
            return self.cluster
        name = f"parallax-{hashlib.sha256(whole).hexdigest()[:16]}"
        return Path("/tmp", name)  # noqa: S108 -- TMPDIR may be long too, and differ per command

    def url(self, database: str) -> str:
        """The libpq URL of one database; the port is named lest PGPORT decide it."""
        return f"postgresql://postgres@/{database}?host={quote(str(self.sockets))}&port=5432"
