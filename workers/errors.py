"""How a capture fails, and how an adapter refuses its options."""

from collections.abc import Sequence

from orchestrator.domain.lanes import LONGEST_RETRY_AFTER_SECONDS

LONGEST_MESSAGE = 2_000


class SurfaceError(Exception):
    """A capture that failed. `message` is for the client: it never carries a credential.

    `permanent`: trying again cannot help. `retry_after_seconds`: the upstream asked for that long;
    it is heard up to `LONGEST_RETRY_AFTER_SECONDS`.
    `response_code`: the upstream's HTTP status, when it gave one. `shared`: another cell made
    the call that failed. `TypeError` for what could not be stored: then the adapter is broken.
    """

    def __init__(
        self,
        code: str,
        message: str,
        *,
        permanent: bool,
        retry_after_seconds: float | None = None,
        response_code: int | None = None,
        shared: bool = False,
    ) -> None:
        if not (isinstance(code, str) and isinstance(message, str)):
            raise TypeError("a SurfaceError has a code and a message of text")
        super().__init__(message)
        self.code = code
        self.message = message[:LONGEST_MESSAGE]
        self.permanent = bool(permanent)
        self.retry_after_seconds = _heard(retry_after_seconds)
        self.response_code = None if response_code is None else int(response_code)
        self.shared = shared

    def for_another(self) -> "SurfaceError":
        """The same failure, of a cell for which the call was not made."""
        return SurfaceError(
            self.code,
            self.message,
            permanent=self.permanent,
            retry_after_seconds=self.retry_after_seconds,
            response_code=self.response_code,
            shared=True,
        )


def _heard(seconds: float | None) -> float | None:
    return None if seconds is None else min(max(0.0, float(seconds)), LONGEST_RETRY_AFTER_SECONDS)


class TooLateError(Exception):
    """A capture that has not begun may not begin any more; its child is given back."""


class LostAloneError(Exception):
    """A capture in a process of its own, which did not come to an end of it; the text says how."""


class OptionError(Exception):
    """Options an adapter cannot use: the keys below `options`, and the reason, of each fault."""

    def __init__(self, *faults: tuple[Sequence[str | int], str]) -> None:
        super().__init__("; ".join(reason for _, reason in faults))
        self.faults = faults
