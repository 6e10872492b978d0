"""Errors and findings about connection strings and options, written to teach and to hide secrets.

Knows which character has to be escaped, what people paste around a connection string, and how
to show a string with its password masked. Must not parse: it is called once parsing has failed,
and it never repeats a text that could be part of a password.
"""

from __future__ import annotations

from mongokey._support.hostnames import host_problem
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis
from mongokey.errors import CodedError, InvalidURI

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from mongokey._support.secrets import Secret

# RFC 3986, section 2.2: what ends or splits the user information when it is not escaped.
RESERVED = "@:/?#[]%"

_HEX = frozenset("0123456789abcdefABCDEF")
BLANKS_AND_QUOTES = " \t\r\n\"'`\u201c\u201d\u2018\u2019\ufeff\u200b\u00a0"
_KEYWORDS = (
    "or leave them out of the string and pass them as they are: "
    "MongoClient(..., username=..., password=...)"
)


class InvalidHost(InvalidURI, ValueError):
    """A host or port cannot be understood. Also a ValueError, as PyMongo's callers expect."""


class InvalidOption(CodedError, ValueError):
    """The value of an option is out of its range or not one of its words.

    `kept` is what of a list of values could be read all the same, as a Secret, for those who only
    warn of the rest; None where nothing could.
    """

    kept: Secret[Any] | None = None


class InvalidOptionType(CodedError, TypeError):
    """The value of an option has the wrong type."""


class UnknownOption(CodedError):
    """There is no option of that name."""

    cause = ("OPTION-UNKNOWN", CERTAIN)


def _coded(code: str, text: str, confidence: str = CERTAIN) -> InvalidURI:
    """An InvalidURI with a code of its own."""
    error = InvalidURI(text)
    error.cause = (code, confidence)
    return error


def diagnose(
    code: str,
    summary: str,
    option: str | None = None,
    *,
    confidence: str = CERTAIN,
    fix: str = "",
) -> Diagnosis:
    """A diagnosis of a connection string, or of options, that could be read all the same.

    `option` is the canonical name of the option that it is about, or None.
    """
    evidence = () if option is None else (f"option {option}",)
    return Diagnosis(code, confidence, summary, evidence, fix, option=option)


def is_deprecation(diagnosis: Diagnosis) -> bool:
    """Whether a name was used that will be no more one day."""
    return diagnosis.code == "OPTION-DEPRECATED"


def is_advice(diagnosis: Diagnosis) -> bool:
    """Whether all is read, but probably not as meant: only the client and `explain` say it."""
    return diagnosis.code in _ADVICE


_ADVICE = frozenset({"SECRET-BLANK", "SECRET-BRACKETS", "USERINFO-PLUS"})


def emit(diagnoses: Iterable[Diagnosis], advice: bool, stacklevel: int) -> None:
    """Give `diagnoses` to the `warnings` module, those that are advice only if `advice`."""
    import warnings

    for each in diagnoses:
        if is_deprecation(each):
            warnings.warn(each.text, DeprecationWarning, stacklevel + 1)
        elif advice or not is_advice(each):
            warnings.warn(each.text, UserWarning, stacklevel + 1)


# ---------------------------------------------------------------- scheme


def bad_scheme(uri: str) -> InvalidURI:
    """Why `uri` does not start with a scheme we know; shows the start of it only."""
    bare = uri.lstrip(BLANKS_AND_QUOTES)
    if not bare:
        return InvalidURI("the connection string is empty: it must begin with 'mongodb://'")
    lower = bare[:14].lower()
    if lower.startswith(("mongodb://", "mongodb+srv://")):
        around = uri[: len(uri) - len(bare)]
        if around:
            return _coded(
                "URI-QUOTED",
                f"the connection string begins with {_short(around)} instead of 'mongodb': remove "
                "the quotes or blanks around it (.env files, YAML lists and shells keep them)",
            )
        return _coded(
            "URI-SCHEME-CASE",
            "the scheme must be in lower case: 'mongodb://' or 'mongodb+srv://'",
        )
    start, sep, _ = bare.partition("://")
    shown = ""
    # Only letters: else it may be a user name and a password.
    if sep and len(start) <= 16 and start.isascii() and start.replace("+", "").isalpha():
        shown = f", not with {start + sep!r}"
    elif lower.startswith("mongodb"):
        shown = ": check the ':' and the two '/' behind 'mongodb'"
    return InvalidURI(
        f"the connection string must begin with 'mongodb://' or 'mongodb+srv://'{shown}"
    )


def _short(text: str) -> str:
    return repr(text if len(text) <= 3 else text[:3] + "...")


# ---------------------------------------------------------------- user information


def first_unescaped(userinfo: str) -> int:
    """Index of the first character of `userinfo` that must be escaped, or -1."""
    colon = userinfo.find(":")
    for index, char in enumerate(userinfo):
        if char not in RESERVED or index == colon:
            continue
        digits = userinfo[index + 1 : index + 3]
        if char == "%" and len(digits) == 2 and _HEX.issuperset(digits):
            continue
        return index
    return -1


def bad_userinfo(scheme: str, rest: str, unsure: bool = False) -> InvalidURI:
    """The error for user information with an unescaped character; `rest` follows `scheme`.

    `unsure` hides what stands behind it: it may be more of a secret.
    """
    at = likely_at(rest)
    userinfo = rest[:at]
    if first_unescaped(userinfo) < 0:
        # Then the user information ends later than it seems.
        at = max(at, rest.rfind("@"))
        userinfo = rest[:at]
    if not userinfo or userinfo.startswith(":"):
        return InvalidURI("the user name is empty: write user:password@ or leave out ':' and '@'")
    index = first_unescaped(userinfo)
    colon = userinfo.find(":")
    if index < 0:
        return _coded(
            "URI-UNESCAPED",
            "the connection string cannot be read: a character of the user name or password is "
            f"probably not escaped; {_KEYWORDS}",
            LIKELY,
        )
    char = userinfo[index]
    if 0 <= colon < index:
        place = f"character {index - colon} of the password"
    else:
        place = f"character {index + 1} of the user name"
    if char == "%":
        what = f"'%' ({place}) is not followed by two hex digits: write %25 for a percent sign"
    else:
        what = f"{char!r} ({place}) must be written as %{ord(char):02X}"
    if "/" in rest[: rest.rfind("@")]:
        what += " (or, if an '@' stands in the database's name, that one as %40)"
    return _coded(
        "URI-UNESCAPED",
        f"{what}. In user names and passwords {' '.join(RESERVED)} have to be escaped, as "
        f"urllib.parse.quote_plus does: {_masked(scheme, rest, at, unsure)} ; {_KEYWORDS}",
        LIKELY if unsure else CERTAIN,
    )


def likely_at(rest: str) -> int:
    """Where the user information most likely ends: the last '@' before the options begin."""
    first = rest.find("@")
    if first < 0:
        return 0
    query = rest.find("?", first)
    return rest.rfind("@", 0, query if query >= 0 else len(rest))


def _masked(scheme: str, rest: str, at: int, unsure: bool) -> str:
    from urllib.parse import quote_plus

    user, colon, _ = rest[:at].partition(":")
    # A name with such characters may be name and password, with something else than ':' between.
    odd = any(char in RESERVED for char in user) and not (colon and is_mail_address(user))
    name = "***" if odd else quote_plus(user, errors="replace")
    shown = f"{scheme}{name}{':***' if colon else ''}@"
    # Another '@' further on, escaped or not, may still belong to the password, so what stands
    # before it is hidden.
    if unsure or rest.rfind("@") != at or "%40" in rest[at:]:
        return shown + "..."
    tail, query, _ = rest[at + 1 :].partition("?")
    return shown + tail + (query and "?...")


def is_mail_address(text: str) -> bool:
    local, _, domain = text.partition("@")
    plain = (local + domain).replace(".", "").replace("-", "").replace("_", "")
    return plain.isalnum() and plain.islower() and domain.rpartition(".")[2].isalpha()


def holds_a_login(path: str) -> bool:
    """Whether `path`, given as a Unix socket's, is more likely a connection string's rest, with a
    user name and password in it."""
    lower = path.lower()
    return (
        lower.startswith(("mongodb:", "mongodb+", "mongodb/", "//", "\\"))
        or ("@" in path and not path.startswith("/"))
        or (":" in path.partition("@")[0] and "@" in path)
    )


def undecodable(what: str) -> InvalidURI:
    """The error for percent-escapes that are not UTF-8."""
    return InvalidURI(
        f"the percent-escapes in the {what} are not UTF-8: escape its text again with "
        "urllib.parse.quote_plus"
    )


# ---------------------------------------------------------------- hosts and database


def bad_port(port: str, number: int) -> InvalidHost:
    """Why `port`, of the host at place `number` (from 1), is not one; does not show it."""
    where = f"the port of host {number}"
    if not port:
        return InvalidHost(f"{where} is missing after ':'")
    blank = next((c for c in port if c.isspace()), None)
    if blank is not None:
        return InvalidHost(f"{where} contains a blank ({blank!r}): remove it")
    digits = port[1:] if port[0] in "+-" else port
    if digits.isascii() and digits.isdigit():
        return InvalidHost(f"{where} is out of range: it must be from 1 to 65535")
    return InvalidHost(
        f"{where} is not a number. If it is part of a password, the user name or password has a "
        f"character ({' '.join(RESERVED)}) that must be escaped, see urllib.parse.quote_plus; "
        "if it is an IPv6 address, put the address in '[' and ']'"
    )


def bad_host(host: str, number: int) -> InvalidHost:
    """Why `host` (at place `number`, from 1) cannot be one; shows one character of it."""
    where = f"host {number}"
    if "/" in host:
        return InvalidHost(
            f"{where} contains '/': the path of a Unix socket must be percent-encoded and end in "
            "'.sock', as in mongodb://%2Ftmp%2Fmongodb-27017.sock"
        )
    if not host:
        return InvalidHost(f"{where} is empty: there is a comma too many, or a port without host")
    for char in host:
        if char.isspace() or not char.isprintable() or char in _BAD_HOST:
            return InvalidHost(
                f"{where} contains {char!r}, which no host name has: check for blanks, quotes and "
                "placeholders that were not filled in"
            )
    return InvalidHost(f"{where} is no host name: it {host_problem(host) or 'cannot be read'}")


_BAD_HOST = frozenset("\"'`<>{}|\\^#?@[] ")


def bad_socket(number: int) -> InvalidHost:
    """The error for a Unix socket's path that may have a login in it; does not show it."""
    return InvalidHost(
        f"host {number} ends in '.sock' and is no path of a Unix socket: a path begins with '/', "
        "and in a connection string only the path is escaped, not the user name, the password and "
        "their ':' and '@', as in mongodb://user:password@%2Ftmp%2Fmongodb-27017.sock"
    )


def no_host(path: str) -> InvalidHost:
    """The error for a string without hosts; `path` is what stands behind the first '/'."""
    if ".sock" in path:
        return bad_host("/", 1)
    return InvalidHost("the connection string names no host")


def bad_database(name: str) -> InvalidURI:
    """Why `name` cannot be a database's; shows one character of it."""
    if name == "$external":
        return InvalidURI(
            "'$external' cannot be the database of the path: write ?authSource=$external"
        )
    if not name:
        return InvalidURI("the database name before '.' is empty")
    char = next(c for c in name if c in BAD_DATABASE)
    return InvalidURI(
        f'the database name contains {char!r}: it may not contain blanks and / \\ " $ '
        "(is there a quote or a line end around the connection string?)"
    )


BAD_DATABASE = frozenset(' /\\"$\0\r\n\t')


def srv_with_port(port: str) -> InvalidURI:
    """The error for a mongodb+srv string with a port."""
    hint = ""
    if port == "27017":
        hint = (
            " (pydantic's MongoDsn adds ':27017' by itself: give the client the string as you "
            "wrote it)"
        )
    return _coded(
        "SRV-PORT", f"a mongodb+srv:// string has no port: remove it, DNS tells the ports{hint}"
    )


# ---------------------------------------------------------------- advice about secrets


def lint_secret(value: str, what: str) -> list[Diagnosis]:
    """What looks wrong about a user name or password (`what`); never shows it."""
    found = []
    if value != value.strip() or (value and not (value[0] + value[-1]).isprintable()):
        end = value[-1]
        if end in "\r\n":
            text = (
                f"the {what} ends with a newline: it was most likely read from a file or made "
                "with echo; use printf or echo -n, or .strip() it"
            )
        elif end.isspace() or not end.isprintable():
            text = f"the {what} ends with a blank or control character ({end!r})"
        else:
            text = f"the {what} begins with a blank or control character ({value[0]!r})"
        found.append(diagnose("SECRET-BLANK", text, confidence=LIKELY))
    if value.startswith("<") and value.endswith(">"):
        text = f"the {what} stands in '<' and '>': replace the placeholder with its brackets"
        found.append(diagnose("SECRET-BRACKETS", text, confidence=LIKELY))
    elif value.endswith(">") and "<" not in value:
        text = f"the {what} ends with '>': is it left over from a '<placeholder>'?"
        found.append(diagnose("SECRET-BRACKETS", text, confidence=LIKELY))
    return found


def raw_plus(what: str) -> Diagnosis:
    """A '+' in the user information was read as a blank."""
    return diagnose(
        "USERINFO-PLUS",
        f"a '+' in the {what} of the connection string was read as a blank; other tools read it "
        "as a plus: write %2B for a plus and %20 for a blank",
        confidence=POSSIBLE,
    )
