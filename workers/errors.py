"""How a capture fails, and how an adapter refuses its options."""

from collections.abc import Sequence

from orchestrator.domain.lanes import LONGEST_RETRY_AFTER_SECONDS


class SurfaceError(Exception):
    """A capture that failed. `message` is for the client: it never carries a credential.

    `permanent`: trying again cannot help. `retry_after_seconds`: the upstream asked for that long;
    it is heard up to `LONGEST_RETRY_AFTER_SECONDS`.
    `response_code`: the upstream's HTTP status, when it gave one.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        permanent: bool,
        retry_after_seconds: float | None = None,
        response_code: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.permanent = permanent
        self.retry_after_seconds = _heard(retry_after_seconds)
        self.response_code = response_code


def _heard(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(0.0, float(seconds)), LONGEST_RETRY_AFTER_SECONDS)


class OptionError(Exception):
    """Options an adapter cannot use: the keys below `options`, and the reason, of each fault."""

    def __init__(self, *faults: tuple[Sequence[str | int], str]) -> None:
        super().__init__("; ".join(reason for _, reason in faults))
        self.faults = faults
