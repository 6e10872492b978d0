"""What to do about a failed Kerberos login: hints from the library's failure or the server's.

Knows the causes by their code words and what an administrator can do. Asks nobody: all it looks
at is the `Evidence` of one login.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone

from mongokey._support.server_codes import LOGIN_REFUSED_CODES
from mongokey.auth.kerberos import error_codes
from mongokey.auth.kerberos.evidence import Evidence
from mongokey.auth.kerberos.interface import Service, Ticket
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.auth.login_context import LoginContext

# Kerberos allows five minutes (krb5.conf, clockskew); hello's answer may be some seconds old.
_LARGEST_SKEW_S = 270

#: The causes by which a KDC refuses the secret (`refusals.refuses_secret`): each try counts there.
SECRET_REFUSED = frozenset(
    {error_codes.CLIENT_LOCKED, error_codes.PASSWORD_EXPIRED, error_codes.PASSWORD_WRONG}
)


def find_hints(code: Any, context: LoginContext) -> Iterator[Diagnosis]:
    """The causes that only GSSAPI has (`registry.HINTS`)."""
    evidence = context.diagnostic_context
    if not isinstance(evidence, Evidence):
        return
    seen = set()
    for found in (
        _of_time(evidence),
        _of_failure(evidence),
        _of_clock(code, evidence, context),
        _of_principal(code, evidence),
        _of_refusal(code, evidence),
    ):
        if found is not None and found.code not in seen:
            seen.add(found.code)
            yield found


def _of_time(evidence: Evidence) -> Diagnosis | None:
    if not evidence.timed_out:
        return None
    return Diagnosis(
        error_codes.KDC_UNREACHABLE,
        LIKELY,
        "a KDC or a name server took the question and did not answer in time",
        fix="check kdc and realm in krb5.conf, and that port 88 (UDP and TCP) is open; "
        "KRB5_TRACE=/dev/stderr shows who is asked",
    )


def _of_failure(evidence: Evidence) -> Diagnosis | None:
    failure = evidence.failure
    if failure is None:
        return None
    cause = error_codes.find_cause(failure)
    if cause is None:
        return None
    if cause == error_codes.NO_TICKET and failure.ticket is not None:
        cause = error_codes.TICKET_OTHER
    summary, _, fix = _advise(cause, evidence).partition(": ")
    return Diagnosis(cause, CERTAIN, summary, [str(failure)], fix)


def _no_ticket(evidence: Evidence) -> str:
    if evidence.library == "winkerberos":
        return (
            "Windows has no credentials of a domain user for this process: log on to the domain, "
            "or give a password"
        )
    missing = f"no ticket of {evidence.username} in {_cache(evidence)}"
    if evidence.keytab is not None:
        return (
            f"{missing}, and no key of it in the keytab {evidence.keytab} (KRB5_CLIENT_KTNAME; "
            "`klist -k` shows what is in it)"
        )
    return (
        f"{missing}: run `kinit {evidence.username}` as the user that runs this program (`klist` "
        "shows what there is), or name a keytab of the user in KRB5_CLIENT_KTNAME, or give a "
        "password"
    )


def _ticket_other(evidence: Evidence) -> str:
    ticket = evidence.failure.ticket if evidence.failure is not None else None
    assert ticket is not None
    return (
        f"{_cache(evidence)} holds a ticket of {ticket.principal}{_left(ticket)}, not of "
        f"{evidence.username}: run `kinit {evidence.username}`, or name {ticket.principal} as the "
        "user"
    )


def _service_unknown(evidence: Evidence) -> str:
    service = evidence.service
    assert service is not None
    return (
        f"the KDC knows no service {service} (host name: {service.origin}): name the server as its "
        "principal does, in the URI or with SERVICE_HOST, SERVICE_NAME or "
        "CANONICALIZE_HOST_NAME=forwardAndReverse; `klist -k` on the server shows its principal. "
        "krb5.conf's dns_canonicalize_hostname and rdns can change the name too"
    )


def _password_wrong(evidence: Evidence) -> str:
    if not evidence.with_password:
        return (
            f"the key in the keytab is not {evidence.username}'s any more: the password was changed"
            " since; make the keytab anew (KRB5_CLIENT_KTNAME)"
        )
    return f"the KDC says that the password is not {evidence.username}'s"


#: What to do, by cause: a text with the names to put in, or a function that looks closer.
_ADVICE: dict[str, str | Callable[[Evidence], str]] = {
    error_codes.NO_TICKET: _no_ticket,
    error_codes.TICKET_OTHER: _ticket_other,
    error_codes.TICKET_EXPIRED: (
        "the ticket in {cache} has expired: run `kinit {user}` again; for programs that run for "
        "long, name a keytab of the user in KRB5_CLIENT_KTNAME"
    ),
    error_codes.SERVICE_UNKNOWN: _service_unknown,
    error_codes.CLIENT_UNKNOWN: (
        "the KDC knows no user {user}: write it as `user@REALM`, percent-encoded in the URI "
        "(user%40REALM); realms are in capitals, mostly"
    ),
    error_codes.CLIENT_LOCKED: (
        "the KDC has locked {user}, or its entry has expired: ask the KDC's admin"
    ),
    error_codes.PASSWORD_WRONG: _password_wrong,
    error_codes.PASSWORD_EXPIRED: (
        "the password of {user} has expired: change it with kpasswd or kinit"
    ),
    error_codes.KEYTAB: (
        "the keytab has no key of {user} (KRB5_CLIENT_KTNAME; `klist -k` shows what is in it)"
    ),
    error_codes.KDC_UNREACHABLE: (
        "no KDC of the realm answers: check kdc in krb5.conf (KRB5_CONFIG), that it runs, and that "
        "port 88 (UDP and TCP) is open; KRB5_TRACE=/dev/stderr shows who is asked"
    ),
    error_codes.REALM_UNKNOWN: (
        "a realm is not known: that of {user}, that of the service {service}, or the way between "
        "them. A service's realm is found by its host's domain: check the host name, and [realms], "
        "[domain_realm] and default_realm in krb5.conf (KRB5_CONFIG), or name the realm with "
        "SERVICE_REALM"
    ),
    error_codes.CLOCK_SKEW: (
        "the clocks of this machine and of the KDC differ by more than five minutes: set them "
        "right (NTP) on both, and run kinit again"
    ),
    error_codes.KEY_MISMATCH: (
        "the key of {service} changed, or another service has the name: make the server's keytab "
        "anew, and run kinit again"
    ),
    error_codes.ENCRYPTION: (
        "KDC, service and this machine have no encryption type in common: see permitted_enctypes "
        "in krb5.conf, and the keys of {service} (old ones are RC4 or DES)"
    ),
    error_codes.CONFIG: "krb5.conf cannot be read (KRB5_CONFIG, by default /etc/krb5.conf)",
    error_codes.CACHE_UNREADABLE: (
        "{cache} cannot be read by the user that runs this program (KRB5CCNAME)"
    ),
}


def _advise(cause: str, evidence: Evidence) -> str:
    advice = _ADVICE[cause]
    if not isinstance(advice, str):
        return advice(evidence)
    return advice.format(user=evidence.username, service=evidence.service, cache=_cache(evidence))


def _of_clock(code: Any, evidence: Evidence, context: LoginContext) -> Diagnosis | None:
    """This machine's clock beside the server's, which hello tells; past once it took a ticket."""
    if (code is not None and code not in LOGIN_REFUSED_CODES) or evidence.principal is not None:
        return None
    local = context.hello.document.get("localTime") if context.hello is not None else None
    if not isinstance(local, datetime) or evidence.clock_s is None:
        return None
    if local.tzinfo is None:
        local = local.replace(tzinfo=timezone.utc)
    skew_s = evidence.clock_s - local.timestamp()
    if abs(skew_s) < _LARGEST_SKEW_S:
        return None
    return Diagnosis(
        error_codes.CLOCK_SKEW,
        LIKELY,
        f"this machine's clock is {abs(skew_s) / 60:.0f} minutes "
        f"{'ahead of' if skew_s > 0 else 'behind'} the server's (hello's localTime), and Kerberos "
        "allows five",
        fix="set both right (NTP)",
    )


def _of_principal(code: Any, evidence: Evidence) -> Diagnosis | None:
    """The ticket is another user's; the library's default cache chose it."""
    principal, username = evidence.principal, evidence.username
    if code not in LOGIN_REFUSED_CODES or principal is None or principal == username:
        return None
    if "@" not in username and principal.partition("@")[0] == username:
        return Diagnosis(
            error_codes.TICKET_OTHER,
            LIKELY,
            f"the ticket is {principal}'s, and the user name given has no realm",
            fix=f"give it as {principal} (in the URI {principal.replace('@', '%40')})",
        )
    return Diagnosis(
        error_codes.TICKET_OTHER,
        LIKELY,
        f"the ticket used is {principal}'s, not {username}'s",
        fix=f"run `kinit {username}`, or name {principal} as the user",
    )


def _of_refusal(code: Any, evidence: Evidence) -> Diagnosis | None:
    """The server refused a ticket that the KDC gave: its log alone says why."""
    if (
        code not in LOGIN_REFUSED_CODES
        or evidence.service is None
        or evidence.principal is not None
    ):
        return None
    return Diagnosis(
        error_codes.KEY_MISMATCH,
        POSSIBLE,
        "the server's keytab may lack the key that this ticket is made for",
        fix=f"compare `kvno {evidence.service.principal or _slashed(evidence.service)}` here with "
        "`klist -k` there; the server's log says why it refused",
    )


def _slashed(service: Service) -> str:
    return f"{service.name}/{service.host}"


def _cache(evidence: Evidence) -> str:
    return evidence.cache or "the default ticket cache"


def _left(ticket: Ticket) -> str:
    """How long a ticket still lives, in words."""
    left = ticket.lifetime_s
    if left is None:
        return ""
    hours, minutes = divmod(left // 60, 60)
    return f" (for {hours} h {minutes} min more)" if hours else f" (for {minutes} min more)"
