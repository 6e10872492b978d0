"""The rows about connection strings, options, and the interpreter they are used in."""

from __future__ import annotations

from mongokey.diagnostics.entry import Entry, rows

_CERTAIN = "certain"
_LIKELY = "likely"
_POSSIBLE = "possible"

STRINGS: list[Entry] = [
    *rows(
        "docs/connection-strings.md#common-mistakes",
        (
            "URI-UNESCAPED",
            "a reserved character (@ : / ? # [ ] %) stands raw in the user name or password",
            "certain where the string cannot be read otherwise; likely or possible where it can",
            "the character and its place, by a caret under the masked string",
            "write it percent-escaped, as urllib.parse.quote_plus does, or give username= and "
            "password= by keyword, which need no escapes",
        ),
        (
            "USERINFO-PLUS",
            "a raw + in the user name or password was read as a blank, as PyMongo does; other "
            "tools read it as a plus",
            _POSSIBLE,
            "a + in the raw user information, by a caret",
            "write %2B for a plus and %20 for a blank",
        ),
        (
            "SECRET-BLANK",
            "a user name or password begins or ends with white space or a line break, as secrets "
            "do that were made with echo or read from a file",
            _LIKELY,
            "the value's first and last character, known before any network",
            "make the secret with printf or echo -n, or strip it",
        ),
        (
            "SECRET-BRACKETS",
            "a user name or password stands in < and >, or ends with one: a placeholder that was "
            "not replaced whole",
            _LIKELY,
            "the brackets at the value's ends",
            "replace the placeholder together with its brackets",
        ),
        (
            "URI-QUOTED",
            "quotes, blanks, line ends or a byte order mark stand around the string, as .env "
            "files, YAML lists and docker's environment: lists keep them",
            _CERTAIN,
            "the first and last characters of the value",
            "remove them",
        ),
        (
            "URI-SCHEME-CASE",
            "the scheme is not in lower case",
            _CERTAIN,
            "the first characters of the value",
            "write mongodb:// or mongodb+srv://",
        ),
        (
            "URI-CUT",
            "the shell cut the string at its first &, or took a $ for a variable",
            _POSSIBLE,
            "one option alone arrived, through a shell",
            "put the string in single quotes",
        ),
        (
            "SRV-PORT",
            "a mongodb+srv:// string has a port; pydantic's MongoDsn adds :27017 by itself",
            _CERTAIN,
            "the port, by a caret",
            "remove it: DNS tells the ports",
        ),
        (
            "OPTION-UNKNOWN",
            "there is no option of that name: it is misspelt, or one of PyMongo 3 or of another "
            "driver",
            _CERTAIN,
            "the name, by a caret; the options it may be meant for",
            "spell it as the table of options does",
        ),
        (
            "OPTION-ALIAS",
            "an option is given by its other name",
            _POSSIBLE,
            "the name",
            "use the name of the specification",
        ),
        (
            "OPTION-DEPRECATED",
            "an option is given by a name that will go one day",
            _CERTAIN,
            "the name",
            "use the new name",
        ),
        (
            "OPTION-INVALID",
            "the value of an option is out of its range, of the wrong type or not one of its words",
            _CERTAIN,
            "the option and its value, if that is no secret",
            "give one of the values that the error names; in a string it is ignored otherwise",
        ),
        (
            "OPTION-REPEATED",
            "an option is given twice: the last one holds",
            _CERTAIN,
            "the option",
            "leave one",
        ),
        (
            "OPTION-NO-EFFECT",
            "the option is for other drivers",
            _CERTAIN,
            "the option",
            "remove it",
        ),
        (
            "OPTION-COMMA",
            "an escaped comma stands in a list, at which other drivers cut the value",
            _POSSIBLE,
            "the value has %2C",
            "give such values by keyword",
        ),
        (
            "LOGIN-EXPOSED",
            "the login sends a secret that everybody on the way can read, as there is no TLS",
            _LIKELY,
            "the mechanism, a host that is not this machine, no TLS",
            "add tls=true",
        ),
        (
            "AUTH-EXTERNAL-MECHANISM",
            "authSource=$external is given without authMechanism",
            _CERTAIN,
            "both options",
            "add authMechanism: PLAIN, GSSAPI, MONGODB-X509, MONGODB-AWS or MONGODB-OIDC",
        ),
    ),
    *rows(
        "",
        (
            "URI-INVALID",
            "the connection string cannot be read",
            _CERTAIN,
            "which part, and one character of it at most",
            "the error says how it is written; mongokey explain shows how it is understood",
        ),
        (
            "ENV-BSON-PACKAGE",
            "the stand-alone package bson has overwritten the bson that comes with PyMongo; "
            "mongokey has its own and does not mind, programs that import PyMongo fail",
            _CERTAIN,
            "PyMongo is installed and the folder bson has no son.py",
            "uninstall bson and reinstall pymongo, for the interpreter that is named",
        ),
        (
            "ENV-LOOP",
            "an asyncio client is used in two event loops that run at the same time, as tests do "
            "that share a client between loops; its connections belong to one of them",
            _CERTAIN,
            "the loop it was first used in, which still runs, and where that was",
            "make a client for each loop (a fixture of the loop's scope)",
        ),
        (
            "ENV-FORK",
            "a forked child uses what belongs to its parent process: a cursor behind a load "
            "balancer, which is read by one connection alone; clients are no such thing, they make "
            "new connections in the child",
            _CERTAIN,
            "the cursor was opened before the fork",
            "open cursors in the child: worker_process_init in Celery, post_fork in gunicorn",
        ),
        (
            "ENV-MANY-CLIENTS",
            "a process made its third client of one and the same string: a client has a pool and "
            "monitors of its own, so one made for each request makes every request slow and uses "
            "up the server's connections",
            _LIKELY,
            "the clients made in this process, counted by hosts and user",
            "make one client when the process starts, and share it",
        ),
    ),
]
