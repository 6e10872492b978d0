"""Which names may be asked for, and which of the hosts that DNS names may be connected to.

Knows the parent-domain rule of initial-dns-seedlist-discovery.md ("Querying DNS") and the two
options that replace it. No I/O: what is checked is handed in; only the Public Suffix List is
read, from its package, when srvAllowedHostsSuffix is given.
"""

from __future__ import annotations

from collections.abc import Callable

from mongokey._support.lazy import late_imports
from mongokey.dns import errors

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from mongokey.options.connection_string import SRVQuestion

# One label is enough for a suffix if it is reserved for private use (RFC 6761, RFC 6762, ICANN's
# resolution on .internal) or known to be used so everywhere, for which ICANN delegates it to none.
PRIVATE_LABELS = frozenset(
    ["corp", "example", "home", "internal", "invalid", "local", "localhost", "mail", "test"]
)

# A host name that DNS gave, in lower case and ASCII -> None, or SRVError is raised.
HostCheck = Callable[[str], None]


def ascii_name(name: str) -> str:
    """`name` in lower case, without the dot of the root, and in IDNA's ASCII form (RFC 3490)."""
    name = name.lower().removesuffix(".")
    if name.isascii():
        return name
    try:
        return name.encode("idna").decode("ascii")
    except UnicodeError:
        raise errors.bad_name(name) from None


def check_name(fqdn: str) -> None:
    """Raise SRVError when `fqdn` is an IP address."""
    if ":" not in fqdn and not fqdn.replace(".", "").isdigit():
        return
    with late_imports:
        from ipaddress import ip_address

    try:
        ip_address(fqdn)
    except ValueError:
        return
    raise errors.address_not_name(fqdn)


def make_host_check(question: SRVQuestion) -> HostCheck:
    """What every host has to pass before it may be connected to.

    srv_host_validator goes before srvAllowedHostsSuffix, and either before the parent domain.
    Raises SRVError when srvAllowedHostsSuffix would allow hosts of strangers.
    """
    if question.host_validator is not None:
        return _by_validator(question.host_validator)
    if question.allowed_hosts_suffix is not None:
        return _by_suffix(question.allowed_hosts_suffix)
    return _by_parent(ascii_name(question.fqdn))


def _by_parent(fqdn: str) -> HostCheck:
    parts = fqdn.split(".")
    short = len(parts) < 3
    parent = fqdn if short else ".".join(parts[1:])
    ending = "." + parent

    def check(host: str) -> None:
        # The ending begins with a dot and a host has no empty label, so one part stands before it.
        if not host.endswith(ending):
            raise errors.foreign_host(host, fqdn, parent, short and host == fqdn)

    return check


def _by_suffix(given: str) -> HostCheck:
    suffix = ascii_name(given.strip("."))
    if not suffix:
        raise errors.bad_suffix(given, "is empty: name the domain of the hosts")
    if suffix not in PRIVATE_LABELS:
        if "." not in suffix:
            raise errors.bad_suffix(given, "must have at least two parts, as in .example.com")
        if _is_public(suffix):
            raise errors.bad_suffix(
                given,
                "is a public suffix, under which anybody can have a name: name the domain of the "
                "hosts, as in .example.com",
            )

    def check(host: str) -> None:
        if not host.endswith("." + suffix):
            raise errors.outside_suffix(host, given)

    return check


def _is_public(suffix: str) -> bool:
    try:
        with late_imports:
            from publicsuffixlist import PublicSuffixList
    except ImportError:
        raise errors.no_suffix_list() from None
    # Without the list's last rule ("*"): whatever has two parts is not public for being unknown.
    return bool(PublicSuffixList(accept_unknown=False).is_public(suffix))


def _by_validator(validator: Callable[[str], bool]) -> HostCheck:
    def check(host: str) -> None:
        try:
            allowed = validator(host)
        except Exception as error:
            raise errors.refused_host(host, f"raised {type(error).__name__}: {error}") from error
        if not isinstance(allowed, bool):
            raise errors.refused_host(
                host, f"returned {type(allowed).__name__} instead of True or False"
            )
        if not allowed:
            raise errors.refused_host(host, "refused it")

    return check
