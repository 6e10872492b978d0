"""What TLS options come to, offline: the client's certificate, whom the client trusts, and faults.

Knows the files that the options name, read and checked as the client does it at its first
connection. Must not connect; no key and no password comes out of here.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from cryptography import x509

from mongokey._support.certificates import distinguished_name, subject_name
from mongokey.errors import ConfigurationError
from mongokey.pool_options import TLSOptions
from mongokey.transport.tls.context import ClientTLS
from mongokey.transport.tls.files import Identity, read_authorities


class Certificate(NamedTuple):
    """A certificate in words; times are UTC, written as ISO 8601. Names are in RFC 2253 order."""

    subject: str
    issuer: str
    valid_from: str
    valid_until: str
    expired: bool


class TLSFacts(NamedTuple):
    """What is known of a client's TLS before it connects.

    `certificate` is what the client shows to servers that ask, None without one; `authorities`
    those of tlsCAFile, empty where `trust` says that they are not from a file. `problem` is the
    error that the client's first connection would end with, None if all is well.
    """

    engine: str | None
    certificate: Certificate | None
    trust: str
    authorities: list[Certificate]
    problem: str | None

    def as_json(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            **self._asdict(),
            "certificate": None if self.certificate is None else self.certificate._asdict(),
            "authorities": [each._asdict() for each in self.authorities],
        }


def describe_tls(options: TLSOptions) -> TLSFacts:
    """Read what `options` name, as a client would, and say what is in it."""
    engine = problem = None
    identity: Identity | None = None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are among the findings
            made = ClientTLS(options)
        engine, identity = made.engine, made.identity
    except ConfigurationError as error:
        problem = str(error)
    authorities: list[Certificate] = []
    if options.allow_invalid_certificates:
        trust = "anybody: certificates are not checked"
    elif options.ca_file:
        trust = f"tlsCAFile={options.ca_file!r}"
        authorities = [_describe(each) for each in read_authorities(options.ca_file)]
    else:
        trust = "the authorities of the system"
    return TLSFacts(
        engine,
        None if identity is None else _describe(identity.certificate),
        trust,
        authorities,
        problem,
    )


def _describe(certificate: x509.Certificate) -> Certificate:
    import datetime

    until = certificate.not_valid_after_utc
    return Certificate(
        _in_words(lambda: subject_name(certificate)),
        _in_words(lambda: distinguished_name(certificate.issuer)),
        certificate.not_valid_before_utc.isoformat(),
        until.isoformat(),
        until < datetime.datetime.now(datetime.timezone.utc),
    )


def _in_words(name: Callable[[], str]) -> str:
    """A name, or that it cannot be read: that of an authority need not be."""
    try:
        return name()
    except Exception as error:
        # cryptography's exceptions for what is odd have no common class.
        return f"(a name that cannot be read: {error})"
