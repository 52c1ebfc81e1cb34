"""Failures of a call, translated: each error of the network becomes one `SurfaceError`, by a table.

Messages are our own words: an error's text may hold a proxy's password or a query's secret.
"""

import re
import socket
import ssl
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

import aiodns
import aiohttp
import aiohttp_socks

from workers.errors import SurfaceError
from workers.guard import FORBIDDEN, ForbiddenAddressError

_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_FIRST_SERVER_ERROR = 500
_SECONDS = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")


class _Words(NamedTuple):
    kinds: tuple[type[BaseException], ...]
    code: str
    message: str
    permanent: bool = False


_TABLE = (  # the first line that fits
    _Words(
        (aiohttp.ClientConnectorCertificateError, ssl.SSLCertVerificationError),
        "TLS_FAILED",
        "the upstream's certificate is not trusted",
        permanent=True,
    ),
    _Words((aiohttp.ClientSSLError, ssl.SSLError), "TLS_FAILED", "TLS with the upstream failed"),
    _Words(
        (
            aiohttp.ClientProxyConnectionError,
            aiohttp_socks.ProxyConnectionError,
            aiohttp_socks.ProxyTimeoutError,
        ),
        "CONNECT_FAILED",
        "the region's proxy cannot be reached",
    ),
    _Words(
        (aiohttp.ClientHttpProxyError, aiohttp_socks.ProxyError),
        "CONNECT_FAILED",
        "the region's proxy did not connect us to the upstream",
    ),
    _Words(
        (aiohttp.ConnectionTimeoutError,),
        "UPSTREAM_TIMEOUT",
        "the upstream took too long to accept a connection",
    ),
    _Words((aiohttp.ServerTimeoutError,), "UPSTREAM_TIMEOUT", "the upstream fell silent"),
    _Words((TimeoutError,), "UPSTREAM_TIMEOUT", "the upstream took too long to answer"),
    _Words((aiohttp.ClientConnectorError,), "CONNECT_FAILED", "the upstream cannot be reached"),
    _Words(
        (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, OSError),
        "BAD_RESPONSE",
        "the upstream hung up before its reply was whole",
    ),
    _Words((aiohttp.ClientError,), "BAD_RESPONSE", "the upstream's reply is not HTTP"),
)

EXPECTED = (
    aiohttp.ClientError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyTimeoutError,
    OSError,
)


def translated(error: BaseException) -> SurfaceError:
    """The failure that one of the `EXPECTED` errors stands for."""
    cause = getattr(error, "os_error", error)
    if isinstance(cause, ForbiddenAddressError):
        reason = f"the upstream's address may not be called: it is {cause}"
        return SurfaceError(FORBIDDEN, reason, permanent=True)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return _dns(error.os_error)
    words = next(words for words in _TABLE if isinstance(error, words.kinds))
    return SurfaceError(words.code, words.message, permanent=words.permanent)


def refused(status: int, retry_after: str | None, date: str | None = None) -> SurfaceError:
    """The failure that a status other than 2xx is; 408, 425, 429 and 5xx may pass.

    `retry_after` and `date` are the reply's headers of these names.
    """
    transient = status in _TRANSIENT_STATUSES or status >= _FIRST_SERVER_ERROR
    return SurfaceError(
        "UPSTREAM_STATUS",
        f"the upstream answered with status {status}",
        permanent=not transient,
        retry_after_seconds=retry_after_seconds(retry_after, date) if transient else None,
        response_code=status,
    )


def retry_after_seconds(
    value: str | None, date: str | None = None, *, now: datetime | None = None
) -> float | None:
    """What a `Retry-After` asks for: seconds or an HTTP date; None if it is neither.

    A date counts from the reply's own `Date`, so that clocks need not agree, or else from now.
    """
    if value is None:
        return None
    if _SECONDS.fullmatch(written := value.strip()):
        return max(0.0, float(written))
    due = _moment(value)
    if due is None:
        return None
    sent = _moment(date or "") or now or datetime.now(UTC)
    return max(0.0, (due - sent).total_seconds())


def _moment(date: str) -> datetime | None:
    """An HTTP date, in any of its three forms."""
    try:
        moment = parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _dns(error: OSError) -> SurfaceError:
    """A name that does not exist stays so; a resolver that does not answer may recover."""
    absent = _absent(error)
    reason = "does not exist" if absent else "cannot be looked up now"
    return SurfaceError("DNS_FAILED", f"the upstream's name {reason}", permanent=absent)


def _absent(error: OSError) -> bool:
    """Whether there is no such name, as the system's resolver says it or as the asynchronous one.

    Of the latter aiohttp keeps only the words; what they came from has the number.
    """
    match error.__cause__:
        case aiodns.error.DNSError(args=(code, *_)):
            return bool(code == aiodns.error.ARES_ENOTFOUND)
        case _:
            return isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
