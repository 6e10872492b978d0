"""Writes the option tables of connection-strings.md from `mongokey.options.table`.

`python docs/option_tables.py` rewrites the page in place; `--check` only says whether it would
change. What an option is for stands here; names, kinds, defaults and sources come from the table
that the driver itself reads, so the page cannot say something else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from mongokey.options import validators
from mongokey.options.table import KEYWORD, MS_KEPT_AS_S, OPTIONS, TXT, URI, Option

PAGE = Path(__file__).with_name("connection-strings.md")

# Chapter -> option -> what it is for.
CHAPTERS: dict[str, dict[str, str]] = {
    "who-logs-in": {
        "username": "user name, as it is: nothing has to be escaped",
        "password": "password, as it is",
        "authSource": "the database that knows the user",
        "authMechanism": "how to log in; left out, SCRAM is negotiated with the server",
        "authMechanismProperties": "the mechanism's own options",
        "credentials": "what gives the secret, asked when a connection needs it; an option of "
        "mongokey's own ([guide](credentials.md))",
        "credentialsFile": "the file, or folder, that has the secret (`from_file`); mongokey's own",
        "credentialsEnv": "the environment variable that has it (`from_env`); mongokey's own",
        "authOIDCAllowedHosts": "hosts that an OIDC token may be sent to",
        "gssapiServiceName": "deprecated: `authMechanismProperties=SERVICE_NAME:...`",
        "loginBackoffMS": "how long a secret that was refused is not tried again, the first time; "
        "each refusal doubles it; 0: tried again at once",
        "maxLoginBackoffMS": "how long at most",
    },
    "which-servers": {
        "replicaSet": "the name that the set must have",
        "directConnection": "talk to exactly this server, whatever its role",
        "loadBalanced": "the host is a load balancer: connections carry its service's id",
        "srvServiceName": "the service's name in the SRV records",
        "srvMaxHosts": "take so many of the hosts, chosen at random; 0 takes all",
        "srvAllowedHostsSuffix": "hosts must be under this domain, instead of the string's own",
        "srv_host_validator": "says True or False to each host that DNS names",
        "srv_resolver": "what asks DNS",
        "localThresholdMS": "how much slower than the nearest server another may be",
        "serverSelectionTimeoutMS": "how long to look for a server that fits",
        "failFast": "give up at once when no server can be had by waiting",
        "serverSelectionTryOnce": "has no effect: it is for drivers without threads",
        "heartbeatFrequencyMS": "time between two looks at a server, 500 at least",
        "serverMonitoringMode": "how servers are watched",
        "server_selector": "chooses among the servers that fit",
        "connect": "True: look for servers at once; False: leave even DNS to the first operation",
    },
    "connections": {
        "connectTimeoutMS": "one deadline over connecting, TLS, hello and login, and over DNS",
        "socketTimeoutMS": "how long to wait for an answer; nothing where there is a timeoutMS",
        "timeoutMS": "how long an operation may take in all; 0: no limit ([guide](timeouts.md))",
        "maxPoolSize": "connections to a server; 0 is no limit",
        "minPoolSize": "connections to keep open",
        "maxConnecting": "connections that may be opened at the same time",
        "maxIdleTimeMS": "close connections that were idle for longer",
        "waitQueueTimeoutMS": "how long to wait for a connection to become free; nothing where "
        "there is a timeoutMS",
        "appname": "shown in the server's log, at most 128 bytes",
        "driver": "what wraps this driver, a `DriverInfo`",
        "server_api": "the stable API's version, a `ServerApi`",
        "compressors": "compressors to offer, best first ([guide](compression.md))",
        "zlibCompressionLevel": "-1: zlib's default, 0: none, 1: fast, 9: small",
        "proxyHost": "SOCKS5 proxy (not supported yet)",
        "proxyPort": "its port",
        "proxyUsername": "its user name",
        "proxyPassword": "its password",
    },
    "tls": {
        "tls": "encrypt; also switched on by the files below",
        "tlsCAFile": "certificates to trust, PEM",
        "tlsCertificateKeyFile": "this client's certificate and key, one PEM file",
        "tlsCertificateKeyFilePassword": "opens the key",
        "tlsCRLFile": "revoked certificates, PEM",
        "ssl_context": "an `ssl.SSLContext` of one's own, used as it is",
        "tlsInsecure": "for tests: checks nothing",
        "tlsAllowInvalidCertificates": "for tests: any certificate will do",
        "tlsAllowInvalidHostnames": "for tests: the certificate may name another host",
        "tlsDisableOCSPEndpointCheck": "do not ask whether the certificate was revoked",
        "tlsDisableCertificateRevocationCheck": "do not check revocation at all",
    },
    "reads-and-writes": {
        "readPreference": "which members of a set to read from",
        "readPreferenceTags": "tag sets, in order of preference; may be repeated",
        "maxStalenessSeconds": "how far a secondary may be behind; -1 is no limit",
        "read_preference": "the same as an object of `mongokey.read_preferences`",
        "readConcernLevel": "how durable what is read must be",
        "w": "how many members, or `majority`, must have a write",
        "wTimeoutMS": "how long to wait for them; 0 is no limit",
        "journal": "wait until the write is in the journal",
        "fsync": "flush to disk (old servers)",
        "retryWrites": "try a write once more where that is safe",
        "retryReads": "try a read once more",
        "maxAdaptiveRetries": "how often to retry against an overloaded server",
        "enableOverloadRetargeting": "retry on another server then",
    },
    "documents": {
        "document_class": "what documents are decoded as",
        "type_registry": "codecs for further types",
        "tzinfo": "the time zone datetimes are given in",
        "tz_aware": "whether datetimes have a time zone",
        "uuidRepresentation": "how UUIDs are stored",
        "unicode_decode_error_handler": "what to do with strings that are not UTF-8",
        "datetime_conversion": "what becomes of dates that Python cannot hold",
        "event_listeners": "listeners of monitoring events",
        "tracing": "spans of OpenTelemetry ([guide](tracing.md))",
        "auto_encryption_opts": "an `AutoEncryptionOpts` ([guide](encryption.md))",
    },
}

# Validator -> kind of value. What is not here says its kind in `_WORDS`.
_KINDS = {
    validators.boolean: "`true`, `false`",
    validators.string: "text",
    validators.string_or_none: "text",
    validators.filled_string_or_none: "text",
    validators.secret_or_none: "text",
    validators.path_or_none: "path",
    validators.app_name: "text",
    validators.auth_source: "text",
    validators.auth_mechanism: "name",
    validators.mechanism_properties: "`key:value,key:value`",
    validators.list_of_strings: "list of str",
    validators.service_name: "letters, digits, `-`",
    validators.milliseconds: "milliseconds",
    validators.seconds: "milliseconds",
    validators.seconds_or_none: "milliseconds",
    validators.seconds_0_is_none: "milliseconds, 0: no limit",
    validators.positive_seconds_or_none: "milliseconds, not 0",
    validators.pool_size: "number",
    validators.not_negative: "number",
    validators.not_negative_64: "milliseconds",
    validators.positive: "number, not 0",
    validators.port: "1 to 65535",
    validators.zlib_level: "-1 to 9",
    validators.max_staleness: "seconds",
    validators.write_concern_w: "number or name",
    validators.read_preference_mode: ", ".join(f"`{word}`" for word in validators.READ_PREFERENCES),
    validators.read_preference_tags: "`key:value,key:value`",
    validators.compressors: ", ".join(f"`{word}`" for word in validators.COMPRESSORS),
    validators.uuid_representation: ", ".join(
        f"`{word}`" for word in validators.UUID_REPRESENTATIONS
    ),
    validators.datetime_conversion: "name or number",
    validators.callable_or_none: "callable",
    validators.provider: "callable, or object with `fetch`",
    validators.resolver_or_none: "`mongokey.dns.Resolver` or `dns.resolver.Resolver`",
    validators.listeners: "list",
    validators.tracing: "dict",
    validators.anything: "object",
}
_WORDS = {
    "serverMonitoringMode": "`auto`, `stream`, `poll`",
    "unicode_decode_error_handler": "`strict`, `replace`, `ignore`",
    "driver": "object",
    "ssl_context": "object",
    "server_api": "object",
    "auto_encryption_opts": "None",
}


def table(chapter: str) -> str:
    """The table of a chapter, in Markdown."""
    lines = ["| option | value | default | from | for |", "| --- | --- | --- | --- | --- |"]
    for name, purpose in CHAPTERS[chapter].items():
        option = OPTIONS[name]
        names = [f"`{name}`"]
        names += [f"also `{alias}`" for alias in option.aliases]
        names += [f"old: `{alias}`" for alias in option.deprecated]
        cells = [", ".join(names), _kind(option), _default(option), _sources(option), purpose]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _kind(option: Option) -> str:
    if option.name in _WORDS:
        return _WORDS[option.name]
    return _KINDS[option.validate]


def _default(option: Option) -> str:
    value = option.default
    if value is None or value == ():
        return ""
    if option.validate is validators.uuid_representation:
        value = next(
            name for name, number in validators.UUID_REPRESENTATIONS.items() if number == value
        )
    elif option.unit == MS_KEPT_AS_S:
        value = round(value * 1000)
    elif isinstance(value, bool):
        value = str(value).lower()
    return f"`{getattr(value, '__name__', value)}`"


def _sources(option: Option) -> str:
    words = {URI: "string", KEYWORD: "keyword", TXT: "TXT"}
    return ", ".join(word for source, word in words.items() if option.sources & source)


def written(page: str) -> str:
    """The page with its tables as they must be."""
    for chapter in CHAPTERS:
        begin, end = f"<!-- options: {chapter} -->\n", f"<!-- end: {chapter} -->"
        before, found, rest = page.partition(begin)
        _, closed, after = rest.partition(end)
        if not found or not closed:
            raise SystemExit(f"{PAGE.name} has no place for the options of {chapter!r}")
        page = f"{before}{begin}{table(chapter)}\n{end}{after}"
    return page


def main() -> None:
    page = PAGE.read_text(encoding="utf-8")
    new = written(page)
    if "--check" in sys.argv[1:]:
        raise SystemExit(None if new == page else "run: python docs/option_tables.py")
    PAGE.write_text(new, encoding="utf-8")


if __name__ == "__main__":
    main()
