"""What a Kerberos login has seen, for the rules that explain its failure.

Knows no cause; holds no secret.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.auth.kerberos.interface import KerberosFailure, Service


class Evidence:
    """What one login saw; holds no secret.

    `clock_s` is the time of day when a ticket was asked for, in seconds since 1970; `cache`
    and `keytab` are the names of the ticket cache and of the user's keytab, as far as the
    environment tells.
    """

    __slots__ = (
        "cache",
        "clock_s",
        "failure",
        "keytab",
        "library",
        "principal",
        "service",
        "timed_out",
        "username",
        "with_password",
    )

    def __init__(self, username: str, with_password: bool) -> None:
        self.username = username
        self.with_password = with_password
        self.service: Service | None = None
        self.library: str | None = None
        self.cache: str | None = None
        self.keytab: str | None = None
        self.clock_s: float | None = None
        self.principal: str | None = None
        self.failure: KerberosFailure | None = None
        self.timed_out = False
