"""Reading the options of a connection string, the `name=value` pairs behind its `?`.

Knows the syntax, repeated and deprecated names, and which names must not be shown; values are
checked by the rows of `mongokey.options.table`. Must not know hosts or credentials.
"""

from __future__ import annotations

from collections.abc import Mapping

from mongokey.errors import ConfigurationError, InvalidURI
from mongokey.options.escapes import unquote_plus
from mongokey.options.table import LOOKUP, ONCE_ONLY, OPTIONS, URI, Option, unknown_option
from mongokey.options.uri_errors import UnknownOption, diagnose

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from typing import Any

    from mongokey.diagnostics import Diagnosis


def read_options(
    query: str, validate: bool, lenient: bool, findings: list[Diagnosis], hide: bool
) -> tuple[dict[str, Any], dict[str, Any], dict[str, str] | None, int]:
    """Read `name=value` pairs.

    Returns the options by canonical name, everything given as written, the other names used
    (canonical name -> alias) and the rules to check. With `hide`, names that are not options
    are not shown: they may be pieces of a password.
    """
    if "&" in query:
        if ";" in query:
            raise InvalidURI("options are separated by '&' or by ';', not by both: use '&'")
        pairs = query.split("&")
    else:
        pairs = query.split(";")
    options: dict[str, Any] = {}
    given: dict[str, Any] = {}
    spelled: dict[str, str] | None = None
    rules = 0
    lookup = LOOKUP.get
    escaped = "%" in query or "+" in query
    for pair in pairs:
        value: Any
        key, equals, value = pair.partition("=")
        option = lookup(key) or lookup(key.lower())
        if option is not None and option.plain and equals and validate:
            name = option.name
            if name not in given:
                # Nearly all options; what is below is for the others.
                if escaped:
                    value = unquote_plus(value, name)
                given[name] = value
                rules |= option.rules
                try:
                    options[name] = option.validate(name, value)
                except (ValueError, TypeError) as error:
                    if not lenient:
                        raise
                    findings.append(_invalid(error, name))
                continue
        if option is None or not equals or not option.sources & URI:
            # A '&' that is not escaped in a secret makes an option of the secret's rest.
            secret = hide or any(OPTIONS[name].secret for name in given)
            _read_unusual_pair(pair, pairs, validate, lenient, findings, secret, options)
            continue
        name = option.name
        if option.raw:
            if option.repeats:
                value = [*given.get(name, ()), value]
        elif escaped:
            value = unquote_plus(value, name)
        alias = option.alias
        if alias is not None:
            if spelled is None:
                spelled = {}
            if alias in option.deprecated:
                findings.append(
                    diagnose(
                        "OPTION-DEPRECATED",
                        f"option {alias} is deprecated: use {name}"
                        + (f" ({alias} is ignored, {name} is given too)" if name in given else ""),
                        name,
                    )
                )
                if name in given:
                    continue
            if name not in given:
                spelled[name] = alias
        if name in given and not option.repeats:
            _given_again(option, given[name], value, spelled, findings)
        given[name] = value
        rules |= option.rules
        if not validate:
            options[name] = value
            continue
        try:
            options[name] = option.validate(name, value)
        except (ValueError, TypeError) as error:
            if not lenient:
                raise
            options.pop(name, None)
            kept = getattr(error, "kept", None)
            if kept is not None:
                options[name] = kept.reveal()
            findings.append(_invalid(error, name))
        else:
            if option.advise is not None:
                advice = option.advise(name, value)
                if advice is not None:
                    findings.append(diagnose(*advice, option=name))
    if "gssapiServiceName" in options and validate:
        _apply_gssapi_service_name(options, findings)
    return options, given, spelled, rules


def options_are_meant(query: str, options: Mapping[str, Any] | None) -> bool:
    """Whether all pairs up to the last '@' of `query` are options, and among those that were read.

    If not, that '@' more likely ends a password in which a '?' was not escaped, and what stands
    before the '?' is no host.
    """
    head, _, tail = query.rpartition("@")
    pairs = (head + tail.partition("&")[0].partition(";")[0]).replace(";", "&").split("&")
    for pair in pairs:
        option = LOOKUP.get(pair.partition("=")[0].lower())
        if option is None or (options is not None and option.name not in options):
            return False
    return True


def _invalid(error: Exception, name: str) -> Diagnosis:
    return diagnose("OPTION-INVALID", f"{error}; it is ignored", option=name)


def _read_unusual_pair(
    pair: str,
    pairs: list[str],
    validate: bool,
    lenient: bool,
    findings: list[Diagnosis],
    hide: bool,
    options: dict[str, Any],
) -> None:
    key, equals, value = pair.partition("=")
    place = f"option {pairs.index(pair) + 1}"
    if not equals:
        text = f"{place} of the connection string has no '=': options are name=value pairs"
        if not pair:
            text = f"{place} of the connection string is empty: there is an '&' or '?' too many"
        if hide:
            text += " (or the user name or password has a '?' or '&' that must be escaped)"
        raise InvalidURI(text)
    if not validate:
        options[key.lower()] = unquote_plus(value, place)
        return
    if hide or not key.isascii() or not key.replace("_", "").isalnum() or len(key) > 60:
        error: ConfigurationError = UnknownOption(
            f"{place} of the connection string is not known (its name is not shown: with a '?' or "
            "'&' that is not escaped it could be a piece of a password)"
        )
    else:
        error = unknown_option(key, URI)
    if not lenient:
        raise error
    findings.append(diagnose("OPTION-UNKNOWN", f"{error}; it is ignored"))


def _given_again(
    option: Option,
    before: Any,
    value: Any,
    spelled: dict[str, str] | None,
    findings: list[Diagnosis],
) -> None:
    name = option.name
    if name == "tls" and before != value:
        raise InvalidURI("tls (or ssl) is given twice with different values: keep one of them")
    if name in ONCE_ONLY:
        raise InvalidURI(f"{name} is given twice: keep one of them")
    if (spelled.get(name) if spelled else None) == option.alias:
        findings.append(
            diagnose(
                "OPTION-REPEATED",
                f"option {option.alias or name} is given twice: the last one holds",
                option=name,
            )
        )


def _apply_gssapi_service_name(options: dict[str, Any], findings: list[Diagnosis]) -> None:
    name = options.pop("gssapiServiceName")
    properties = options.setdefault("authMechanismProperties", {})
    properties.setdefault("SERVICE_NAME", name)
    findings.append(
        diagnose(
            "OPTION-DEPRECATED",
            "option gssapiServiceName is deprecated: use authMechanismProperties=SERVICE_NAME:...",
            "gssapiServiceName",
        )
    )
