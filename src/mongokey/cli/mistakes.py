"""The common mistakes in connection strings: each named, pointed at, and put right.

Knows what people get wrong before any network is involved, and how the string is meant instead;
works on the text as it was given, so that it has something to say about strings that cannot be
read. What it shows has every secret masked, in whole and corrected strings alike.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import quote_plus, unquote_plus

from mongokey._support.secrets import keeps_secrets
from mongokey.auth.mechanism import EXTERNAL
from mongokey.auth.registry import DEFAULT, find_rules, property_names
from mongokey.diagnostics import CERTAIN, LIKELY, POSSIBLE, Diagnosis, surest_first
from mongokey.errors import ConfigurationError
from mongokey.options import uri_errors
from mongokey.options.connection_string import SCHEME, SRV_SCHEME, ConnectionString, parse
from mongokey.options.table import URI, closest_options, find

MASK = "***"

# Users that are nearly always kept in admin: the container images make them there.
_ROOT_USERS = frozenset({"root", "admin", "administrator", "mongoadmin", "superuser"})
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")
# Access key ids of AWS: a half of a pair, of which little is shown.
_KEY_ID = re.compile(r"(?:AKIA|ASIA)[A-Z0-9]{8,}")
_PORT = re.compile(r":\d*$")


class _Text(NamedTuple):
    """A connection string in pieces, none of them decoded; `userinfo` None without an '@'.

    `unsure` says that the user information may end elsewhere, as there is another '@': what stands
    behind it may be a piece of a secret, so nothing of it is shown. `odd_user`
    says that the user name had reserved characters in it: it may be name and password, glued by
    something else than ':', or no user name at all.
    """

    scheme: str
    userinfo: str | None
    hosts: str
    path: str
    query: str
    unsure: bool = False
    odd_user: bool = False

    def __str__(self) -> str:
        return self._join(self.userinfo, self.query)

    def masked(self) -> str:
        """The whole of it, fit to be shown."""
        return self._show(self._login(), _mask_query(self.query))

    def pointing(self, piece: str, text: str, index: int) -> tuple[str, str]:
        """The masked string with `text` for its userinfo or query, and a caret under `index`."""
        query = text if piece == "query" else _mask_query(self.query)
        userinfo = text if piece == "userinfo" else self._login()
        line = self._show(userinfo, query)
        before = len(self.scheme)
        if piece == "query":
            before = len(line) - len(text)
        return _point(line, before + index)

    def _login(self) -> str | None:
        if self.userinfo is None:
            return None
        user, colon, _ = self.userinfo.partition(":")
        if _KEY_ID.fullmatch(user):
            user = f"{user[:4]}***"
        if self.odd_user and not (colon and uri_errors.is_mail_address(unquote_plus(user))):
            user = MASK
        return user + (colon and ":" + MASK)

    def _join(self, userinfo: str | None, query: str) -> str:
        login = "" if userinfo is None else userinfo + "@"
        options = "?" + query if query else ""
        return f"{self.scheme}{login}{self.hosts}{self.path}{options}"

    def _show(self, userinfo: str | None, query: str) -> str:
        return f"{self.scheme}{userinfo}@..." if self.unsure else self._join(userinfo, query)


def _point(line: str, caret: int) -> tuple[str, str]:
    """Evidence that is a place: the string, masked, and a line with a caret under the place."""
    return line, " " * caret + "^"


@keeps_secrets
def find_mistakes(uri: str, *, from_shell: bool = False) -> list[Diagnosis]:
    """What is, or most likely is, not meant so in `uri`; the surest comes first.

    :param uri: what was given as a connection string, as it was given
    :param from_shell: True if it came as an argument, through a shell

    Where a place in the string is meant, the evidence is the string, masked, and a line with a
    caret below it. The fix is the string put right, masked, in that and all other regards; "" where
    only the user can do that. Never raises for a text.
    """
    found: list[tuple[Diagnosis, bool]] = []

    def note(mistake: Diagnosis, mends: bool = True) -> None:
        found.append((mistake, mends))

    text = _strip(uri, note)
    pieces = _split(text)
    if pieces is None:
        return [mistake for mistake, _ in found]
    pieces = _mend_userinfo(pieces, _reads(text), note)
    if not pieces.unsure:
        pieces = _mend_port(pieces, note)
        pieces = _mend_options(pieces, note)
    try:
        string = parse(str(pieces), lenient=True)
    except (ConfigurationError, ValueError, TypeError):
        # Something else is wrong too, which the parser's own error says.
        return [mistake for mistake, _ in found]
    pieces = _mend_secrets(pieces, string, note)
    pieces = _mend_source(pieces, string, note)
    _look_at_login(pieces, string, from_shell, note)
    fixed = "" if pieces.unsure else pieces.masked()
    return list(surest_first(m.replace(fix=fixed) if mends else m for m, mends in found))


@keeps_secrets
def mask(uri: str) -> str:
    """What was given as a connection string, fit to be shown; never raises for a text."""
    text = _strip(uri, lambda *_: None)
    pieces = _split(text)
    if pieces is not None:
        return pieces.masked()
    # Host names, or something in which a secret may stand anywhere.
    plain = text.replace(",", "").replace(".", "").replace(":", "").replace("-", "")
    return text if plain.isalnum() and text.isascii() else MASK


_Note = Callable[..., None]
# So many unknown options are pointed at: a string with more of them is none of these mistakes.
_MOST_UNKNOWN = 16


def _strip(uri: str, note: _Note) -> str:
    around = uri_errors.BLANKS_AND_QUOTES
    text = uri.strip(around)
    lower = text[: len(SRV_SCHEME)].lower()
    if not lower.startswith((SCHEME, SRV_SCHEME)):
        return text
    before = uri[: len(uri) - len(uri.lstrip(around))]
    after = uri[len(uri.rstrip(around)) :]
    if before or after:
        where = [f"begins with {before[:3]!r}"] if before else []
        where += [f"ends with {after[-3:]!r}"] if after else []
        note(
            Diagnosis(
                "URI-QUOTED",
                CERTAIN,
                f"the string {' and '.join(where)}: remove the quotes, blanks or line ends around "
                "it (.env files, YAML lists, docker's environment: lists and files keep them)",
            )
        )
    length = text.index("://") + 3
    if text[:length] != text[:length].lower():
        note(Diagnosis("URI-SCHEME-CASE", CERTAIN, "the scheme must be in lower case"))
    return text[:length].lower() + text[length:]


def _split(text: str) -> _Text | None:
    scheme = next((s for s in (SCHEME, SRV_SCHEME) if text.startswith(s)), None)
    if scheme is None:
        return None
    rest = text[len(scheme) :]
    at = _end_of_userinfo(text, rest)
    userinfo, rest = (None, rest) if at < 0 else (rest[:at], rest[at + 1 :])
    head, _, query = rest.partition("?")
    hosts, slash, path = head.partition("/")
    user = (userinfo or "").partition(":")[0]
    # With a '/' or '?' in its user name it may be no user information but a path and options.
    unsure = userinfo is not None and ("@" in path + query or "/" in user or "?" in user)
    odd = uri_errors.first_unescaped(user) >= 0
    return _Text(scheme, userinfo, hosts, slash + path, query, unsure, odd)


def _end_of_userinfo(text: str, rest: str) -> int:
    """Where the '@' behind the user information stands in `rest`, or -1."""
    try:
        string = parse(text, lenient=True)
    except (ConfigurationError, ValueError, TypeError):
        at = uri_errors.likely_at(rest)
        later = rest.rfind("@")
        # The user information may end later than it seems, at an '@' behind a '?'.
        if uri_errors.first_unescaped(rest[:at]) < 0 <= uri_errors.first_unescaped(rest[:later]):
            at = later
        return at if "@" in rest else -1
    head = rest.partition("?")[0]
    at = head.rfind("@")
    if at < 0 and any(finding.code == "OPTION-UNKNOWN" for finding in string.findings):
        # It reads, but as a host and an unknown option: "user?x:password@host".
        at = rest.rfind("@")
    return at


def _reads(text: str) -> bool:
    try:
        parse(text, lenient=True)
    except (ConfigurationError, ValueError, TypeError):
        return False
    return True


# ---------------------------------------------------------------- user information


def _mend_userinfo(pieces: _Text, reads: bool, note: _Note) -> _Text:
    userinfo = pieces.userinfo
    if userinfo is None:
        return pieces
    at = uri_errors.first_unescaped(userinfo)
    if at >= 0:
        char = userinfo[at]
        pointed = pieces.pointing("userinfo", *_show_around(userinfo, at))
        note(
            Diagnosis(
                "URI-UNESCAPED",
                # An '@' in the database's name can be read all the same.
                LIKELY if reads else CERTAIN,
                f"{char!r} in the user name or password must be written as %{ord(char):02X}; "
                f"{' '.join(uri_errors.RESERVED)} have to be escaped there, as "
                "urllib.parse.quote_plus does. MongoClient(..., username=..., password=...) takes "
                "them as they are",
                pointed,
            )
        )
    elif pieces.unsure:
        names = [pair.partition("=")[0] for pair in re.split("[&;]", pieces.query)]
        note(
            Diagnosis(
                "URI-UNESCAPED",
                POSSIBLE if all(map(find, names)) else LIKELY,
                "there is another '@' behind the one that ends the user name and password: if it "
                "or what stands before it belongs to the password, a '?' or '/' there must be "
                "written as %3F or %2F, and an '@' as %40",
                _point(pieces.masked(), len(pieces.masked()) - len("@...")),
            )
        )
    if "+" in userinfo:
        pointed = pieces.pointing("userinfo", *_show_around(userinfo, userinfo.index("+")))
        finding = uri_errors.raw_plus(
            "user name" if "+" in userinfo.partition(":")[0] else "password"
        )
        note(finding.replace(evidence=pointed))
    user, colon, password = userinfo.partition(":")
    return pieces._replace(userinfo=_escape(user) + colon + _escape(password))


def _escape(text: str) -> str:
    """Escape what is not escaped yet; a plus becomes %2B."""
    parts = []
    end = 0
    for match in _ESCAPE.finditer(text):
        parts += [quote_plus(text[end : match.start()], errors="replace"), match.group()]
        end = match.end()
    parts.append(quote_plus(text[end:], errors="replace"))
    return "".join(parts)


def _show_around(userinfo: str, at: int) -> tuple[str, int]:
    """Masked user information in which only the character at `at` shows, and its new place."""
    shown = MASK + userinfo[at] + MASK
    user, colon, _ = userinfo.partition(":")
    if colon and at > len(user) and uri_errors.first_unescaped(user) < 0:
        shown = f"{user}:{shown}"
        return shown, len(user) + 1 + len(MASK)
    return shown, len(MASK)


def _mend_secrets(pieces: _Text, string: ConnectionString, note: _Note) -> _Text:
    texts = {"user name": string.username, "password": string.password}
    for what, value in texts.items():
        for finding in uri_errors.lint_secret(value or "", what):
            note(finding)
            # A ">" alone is left over; both brackets stand around the secret or a placeholder.
            around = None if finding.code == "SECRET-BLANK" else "<>"
            texts[what] = (texts[what] or "").strip(around)
    if pieces.userinfo is None or (texts["user name"], texts["password"]) == (
        string.username,
        string.password,
    ):
        return pieces
    userinfo = quote_plus(texts["user name"] or "")
    if texts["password"] is not None:
        userinfo += ":" + quote_plus(texts["password"])
    return pieces._replace(userinfo=userinfo)


# ---------------------------------------------------------------- hosts


def _mend_port(pieces: _Text, note: _Note) -> _Text:
    match = _PORT.search(pieces.hosts)
    if pieces.scheme != SRV_SCHEME or match is None or "," in pieces.hosts:
        return pieces
    caret = len(pieces.masked().partition("?")[0]) - len(pieces.path) - len(match.group())
    note(
        Diagnosis(
            "SRV-PORT",
            CERTAIN,
            str(uri_errors.srv_with_port(match.group()[1:])),
            _point(pieces.masked(), caret),
        )
    )
    return pieces._replace(hosts=pieces.hosts[: match.start()])


# ---------------------------------------------------------------- options


def _mend_options(pieces: _Text, note: _Note) -> _Text:
    if not pieces.query or {"&", ";"} <= set(pieces.query):
        return pieces  # both may not separate options: what is meant is not known
    pairs = re.split("[&;]", pieces.query)
    shown: list[str] = []
    unknown = 0
    secret = False
    mended: list[str] = []
    for number, pair in enumerate(pairs):
        name, equals, value = pair.partition("=")
        right = name
        option = find(name)
        if not pair:
            continue
        secret = secret or (option is not None and option.secret)
        if option is None or not option.sources & URI:
            if not name.isascii() or not name.replace("_", "").isalnum() or not equals:
                mended.append(pair)
                continue
            unknown += 1
            if unknown > _MOST_UNKNOWN:
                mended.append(pair)
                continue
            # What is given by keyword is no misspelt option, and its value may be a secret, which
            # another name would not have masked.
            close = closest_options(name, URI) if option is None else []
            # It may be the rest of a secret with an unescaped '&' in it.
            message = "there is no option " + (MASK if secret and not close else name)
            if option is not None:
                message = f"option {option.name} can only be given by keyword"
            if len(close) == 1:
                right = close[0]
                message += f": did you mean {right}?"
            elif close:
                message += f": did you mean {' or '.join(close)}?"
            shown = shown or [_mask_query(each) for each in pairs]
            pointed = _point_at(pieces, shown, number)
            note(Diagnosis("OPTION-UNKNOWN", CERTAIN, message, pointed), right != name)
        elif option.alias is not None:
            right = option.name
            outdated = option.alias in option.deprecated
            shown = shown or [_mask_query(each) for each in pairs]
            note(
                Diagnosis(
                    "OPTION-DEPRECATED" if outdated else "OPTION-ALIAS",
                    CERTAIN if outdated else POSSIBLE,
                    f"{option.alias} is {'a deprecated' if outdated else 'another'} name of "
                    f"{option.name}: use {option.name}",
                    _point_at(pieces, shown, number),
                )
            )
        mended.append(right + equals + value)
    return pieces._replace(query="&".join(mended))


def _point_at(pieces: _Text, shown: list[str], number: int) -> tuple[str, str]:
    """The place of a pair; `shown` are all, masked."""
    before = sum(len(pair) + 1 for pair in shown[:number])
    return pieces.pointing("query", "&".join(shown), before)


# ---------------------------------------------------------------- who logs in


def _mend_source(pieces: _Text, string: ConnectionString, note: _Note) -> _Text:
    """The database in the path becomes the authSource, by far the most frequent cause of failed
    logins on servers of one's own."""
    user, database = string.username, string.database
    mechanism = string.options.get("authMechanism")
    if user is None or database is None or "authSource" in string.options:
        return pieces
    rules = find_rules(None if mechanism == DEFAULT else mechanism)
    if rules.external or pieces.unsure:
        return pieces
    caret = len(pieces.masked().partition("?")[0]) - len(pieces.path) + 1
    if rules.takes_external:
        if database == EXTERNAL:
            return pieces
        note(
            Diagnosis(
                "LDAP-SOURCE",
                LIKELY,
                f"the database in the path, {database!r}, is taken for the one that the user logs "
                f"in at, as no authSource is given; users of LDAP log in at {EXTERNAL}: add "
                f"authSource={EXTERNAL}",
                _point(pieces.masked(), caret),
            )
        )
        return _with_option(pieces, f"authSource={EXTERNAL}")
    if database == "admin":
        return pieces
    root = user.lower() in _ROOT_USERS
    mistake = Diagnosis(
        "AUTH-SOURCE-FROM-PATH",
        LIKELY if root else POSSIBLE,
        f"the database in the path, {database!r}, is taken for the one that knows the user, as no "
        "authSource is given; if the user was created in admin"
        + (" (root users are)" if root else "")
        + ", add authSource=admin",
        _point(pieces.masked(), caret),
    )
    mended = _with_option(pieces, "authSource=admin")
    if root:
        note(mistake)
        return mended
    note(mistake.replace(fix=mended.masked()), False)
    return pieces


def _with_option(pieces: _Text, option: str) -> _Text:
    return pieces._replace(query=f"{pieces.query}&{option}" if pieces.query else option)


def _look_at_login(pieces: _Text, string: ConnectionString, from_shell: bool, note: _Note) -> None:
    options = string.options
    mechanism = options.get("authMechanism")
    names = [host for host, _ in string.hosts] if string.fqdn is None else [string.fqdn]
    if options.get("authSource") == "$external" and "authMechanism" not in options:
        note(
            Diagnosis(
                "AUTH-EXTERNAL-MECHANISM",
                CERTAIN,
                "users of $external need authMechanism: PLAIN, GSSAPI, MONGODB-X509, MONGODB-AWS "
                "or MONGODB-OIDC",
            ),
            False,
        )
    exposed = find_rules(None if mechanism == DEFAULT else mechanism).shown_in_plaintext
    elsewhere = not any(name in _LOOPBACK or name.endswith(".sock") for name in names)
    encrypted = string.fqdn is not None or any(name.startswith("tls") for name in options)
    tls_given = re.search(r"(?:^|&)(?:tls|ssl)=", pieces.query, re.IGNORECASE)
    if exposed is not None and elsewhere and (options.get("tls") is False or not encrypted):
        note(
            Diagnosis(
                "LOGIN-EXPOSED",
                LIKELY,
                f"{mechanism} sends {exposed} as it is, and the connection has no TLS: whoever is "
                "on the way can read it; add tls=true",
                fix="" if tls_given else _with_option(pieces, "tls=true").masked(),
            ),
            False,
        )
    nobody = string.username is None and "authMechanism" not in options
    if nobody and elsewhere:
        note(
            Diagnosis(
                "AUTH-NO-CREDENTIAL",
                POSSIBLE,
                "no user is given: a server that asks for logins answers 'requires "
                "authentication' (code 13)",
            ),
            False,
        )
    given = [name for name in options if string.origins[name] == "URI"]
    if from_shell and string.username is not None and len(given) == 1 and "&" not in pieces.query:
        if given[0] in ("authSource", "tls", "authMechanism"):
            return
        length = len(string.password or "")
        note(
            Diagnosis(
                "URI-CUT",
                POSSIBLE,
                f"one option arrived ({given[0]}), and a password of {length} characters: if there "
                "were more, the shell cut the string at its first '&' or took a '$' for a "
                "variable; put it in single quotes",
            ),
            False,
        )


# ---------------------------------------------------------------- masks


def _mask_query(query: str) -> str:
    shown = []
    for group in query.split("&"):
        pairs = []
        for pair in group.split(";"):
            pairs.append(_mask_pair(pair))
            option = find(pair.partition("=")[0])
            if option is not None and option.secret and pair != group:
                # What follows a ';' may be the rest of the secret.
                pairs.append(MASK)
                break
        shown.append(";".join(pairs))
    return "&".join(shown)


def _mask_pair(pair: str) -> str:
    if not pair:
        return pair
    name, equals, value = pair.partition("=")
    option = find(name)
    if option is None:
        # It may be the rest of a secret with an unescaped '&' in it: only a name is shown.
        plain = name.isascii() and name.replace("_", "").isalnum()
        return (name if plain and closest_options(name, URI) else MASK) + (equals and "=" + MASK)
    if option.name == "authMechanismProperties":
        value = ",".join(map(_mask_property, value.split(",")))
    elif option.secret:
        value = MASK
    return name + equals + value


def _mask_property(pair: str) -> str:
    key, colon, value = pair.partition(":")
    secret = property_names().get(key.upper())
    # An unknown name may be the rest of a secret with a comma in it.
    if secret is None or not colon:
        return f"{MASK}:{MASK}" if colon else MASK
    return f"{key}:{MASK if secret else value}"


__all__ = ["MASK", "find_mistakes", "mask"]
