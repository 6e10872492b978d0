# cython: language_level=3
"""Making a connection that is logged in, as steps: connect, TLS, hello, login.

Knows the order, who is asked about the server in between, and who says why a connection broke. It
must not know how a step is carried out, how a mechanism works, nor what the connection is for.
"""

from mongokey._support.deadline cimport Timeout
from mongokey.auth.login cimport Greeting
from mongokey.connection.openings cimport Opening
from mongokey.connection.settings cimport ConnectionSettings
from mongokey.connection.steps cimport Connect, StartTLS

from mongokey._support.lazy import late_imports
from mongokey.auth.login import authenticate, greet
from mongokey.errors import AutoReconnect, ConfigurationError, ProtocolError


def establish(
    address,
    ConnectionSettings settings not None,
    Timeout limit,
    *,
    bint log_in=True,
    judge=None,
    bint to_be_used=True,
    Opening opening=None,
):
    """Connect to `address`, do the TLS handshake, say hello and, if `log_in`, log in."""
    cdef Greeting greeting
    connection = result = None
    # Warns before a login shows a secret; hello may carry it already.
    exposure = settings.plaintext_warner if log_in else None
    try:
        connection = yield Connect(address, limit)
        if settings.tls is not None:
            host, port = address
            if port is None:
                raise ConfigurationError(f"TLS is not used over Unix sockets: {host}")
            yield StartTLS(settings.tls, host)
        if exposure is not None and to_be_used:
            exposure.warn(connection.stream, address)
        greeting = yield from greet(
            settings.credential if log_in else None,
            settings.metadata,
            address,
            server_api=settings.server_api,
            load_balanced=settings.load_balanced and log_in,
            subject=subject(settings) if log_in else None,
            to_be_used=to_be_used,
        )
        connection.accept_hello(greeting.hello)
        settings.hello_seen.add(address)
        if opening is not None:
            opening.greeted(greeting.hello)
        if judge is not None:
            judge(greeting.hello)
        if log_in:
            if exposure is not None and not to_be_used:
                exposure.warn(connection.stream, address)
            result = yield from authenticate(greeting)
    except (AutoReconnect, ProtocolError) as error:
        if connection is not None:
            with late_imports:
                from mongokey.connection.missing_tls import detect_missing_tls

            better = detect_missing_tls(error, settings, address, connection)
            if better is not None:
                raise better from error
            peer = connection.stream.peer
            if isinstance(error, ProtocolError) and peer not in str(error):
                raise ProtocolError(f"{peer}: {error}", error.permanent) from error
        raise
    return connection, result


cdef object subject(ConnectionSettings settings):
    """Who the client's certificate says it is; "" when no certificate can be sent."""
    if settings.tls is None or settings.tls.without_certificate:
        return ""
    return settings.tls.subject


__all__ = ["establish"]
