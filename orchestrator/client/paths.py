"""The paths of jobs and groups: whatever is given as an id or a name stays one part of them."""

from urllib.parse import quote

PAGE = 100
"""The most a page may have."""


def job(job: str, rest: str = "") -> str:
    """The path of a parent or a child, or of something of it."""
    return f"/v1/jobs/{quote(job, safe='')}{rest}"


def group(name: str, rest: str = "") -> str:
    """The path of a group, or of something of it."""
    return f"/v1/groups/{quote(name, safe='')}{rest}"
