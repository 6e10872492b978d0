"""One question to a cloud's metadata service over plain HTTP on the machine's own link.

Knows time limits, the one retry that vendors ask for, and how to say what came back without
showing a token. Must not know which cloud it is, nor honour proxies: the answer is the machine's.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from mongokey._support.lazy import late_imports
from mongokey._support.portable import Portable
from mongokey._support.secret_texts import hide_tokens
from mongokey.auth.errors import AuthenticationFailed, LoginTimeout
from mongokey.errors import ConfigurationError

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from http.client import HTTPConnection, HTTPResponse

    from mongokey._support.deadline import Deadline
    from mongokey.diagnostics import Diagnosis

# The pause before the one retry. Azure and Google both ask for exponential back-off from about
# one second, on 404 (the service is being updated), 429 and 5xx.
RETRY_PAUSE_S = 1.0
RETRIED = frozenset({404, 410, 429, *range(500, 600)})
# Tokens of users with hundreds of groups reach some tens of kilobytes.
MAX_ANSWER = 256 * 1024
# On the machine's own link a service answers a connection at once, or there is none.
CONNECT_S = 5.0

_LONGEST_SHOWN = 400


class SourceError(Portable, Exception):
    """A built-in source has no token: the message, the class of the login's error, a hint."""

    def __init__(
        self,
        message: str,
        kind: type[AuthenticationFailed | ConfigurationError] = AuthenticationFailed,
        hint: Diagnosis | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.kind = kind
        self.hint = hint


class Answer:
    """What a service answered: status, reason phrase, body as text."""

    __slots__ = ("body", "reason", "status")

    def __init__(self, status: int, reason: str, body: str) -> None:
        self.status = status
        self.reason = reason
        self.body = body

    def shown(self) -> str:
        """Status and beginning of the body, fit for an error message."""
        body = hide_tokens(" ".join(self.body.split()))
        if len(body) > _LONGEST_SHOWN:
            body = body[:_LONGEST_SHOWN] + "..."
        return f"HTTP {self.status} {self.reason}, " + (repr(body) if body else "an empty body")


def get(
    server: tuple[str, int],
    path: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    absent: str,
) -> Answer:
    """GET `path` from `server`, trying once more where `RETRIED` says so.

    All of it ends by `deadline`. Raises SourceError with the endpoint in its message when there is
    no answer; `absent` says what to do where there is no such service.
    """
    where = endpoint(server, path)
    answer = _once(server, path, headers, deadline, where, absent)
    if answer.status in RETRIED and deadline.left_s > RETRY_PAUSE_S:
        time.sleep(RETRY_PAUSE_S)
        answer = _once(server, path, headers, deadline, where, absent)
    return answer


def endpoint(server: tuple[str, int], path: str) -> str:
    """The URL asked, without the query."""
    host, port = server
    return f"http://{host}{'' if port == 80 else f':{port}'}{path.partition('?')[0]}"


def _once(
    server: tuple[str, int],
    path: str,
    headers: Mapping[str, str],
    deadline: Deadline,
    where: str,
    absent: str,
) -> Answer:
    with late_imports:
        from http.client import HTTPConnection, HTTPException

    host, port = server
    left = _left(deadline, where)
    connection = HTTPConnection(host, port, timeout=min(CONNECT_S, left))
    try:
        try:
            connection.connect()
        except OSError as error:
            raise SourceError(f"{where} cannot be reached ({error}): {absent}") from None
        _limit(connection, deadline, where)
        connection.request("GET", path, headers=dict(headers))
        response = connection.getresponse()
        body = _read(connection, response, deadline, where)
    except TimeoutError:
        raise SourceError(f"{where} did not answer in time", LoginTimeout) from None
    except (OSError, HTTPException) as error:
        said = hide_tokens(f"{type(error).__name__}: {error}")[:_LONGEST_SHOWN]
        raise SourceError(f"{where} gave no HTTP answer ({said}): {absent}") from None
    finally:
        connection.close()
    return Answer(response.status, response.reason, body.decode("utf-8", "replace"))


def _read(
    connection: HTTPConnection, response: HTTPResponse, deadline: Deadline, where: str
) -> bytes:
    """The body, within the deadline even when it comes in drops."""
    body = bytearray()
    while True:
        if connection.sock is not None:
            _limit(connection, deadline, where)
        else:
            _left(deadline, where)
        piece = response.read1(MAX_ANSWER)
        if not piece:
            if response.length:
                raise SourceError(f"{where} hung up in the middle of its answer")
            return bytes(body)
        body += piece
        if len(body) > MAX_ANSWER:
            raise SourceError(f"{where} answered with more than {MAX_ANSWER} bytes: it is no token")


def _left(deadline: Deadline, where: str) -> float:
    left = deadline.left_s
    if not left:
        raise SourceError(f"{where} did not answer in time", LoginTimeout)
    return left


def _limit(connection: HTTPConnection, deadline: Deadline, where: str) -> None:
    connection.sock.settimeout(_left(deadline, where))
