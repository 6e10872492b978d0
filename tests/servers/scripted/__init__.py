"""A server that does what a script says, for faults that no real server shows on demand.

It knows MongoDB's framing (written here from the wire specification, on its own), hello, and
SCRAM logins through `scram_server`; what it answers, damages or withholds is set by a test, and
everything it received can be looked at afterwards. It must not know the code under test: BSON
is read and written with PyMongo's `bson`.

    with ScriptedServer(on={"ping": Reply({"ok": 1}, response_to=7)}) as server:
        with pytest.raises(ProtocolError):
            MongoClient(server.uri()).admin.command("ping")
        assert server.count("ping") == 1

What a test can set, all of it also later, on the running server:

- `hello`: what hello answers (`standalone()`, `primary()`, `secondary()`, `arbiter()`, `ghost()`,
  `mongos()`, or any document). Every new hello is answered with the current one.
- `members`: the addresses that a set's member names; `make_set` has several name each other.
- `login`: a `Login`, or None for a server without authentication.
- `on`: by command name, an answer; see `Answer`. "hello" stands for both hellos, "hello with login"
  for those that begin a login, which a monitor's never do; "*" for commands not named. `ping`,
  `endSessions` and `killCursors` succeed when not named.
- `cut_after`: a number of bytes; a new connection is closed when it has sent that many.
- `drip`: seconds between the single bytes of everything a new connection sends.

Errors in the script itself (not those of the client's making) are raised by `stop()`.
"""

from __future__ import annotations

from tests.servers.scripted.answers import (
    Answer,
    Close,
    Delay,
    Drip,
    Error,
    Hold,
    InTurn,
    Raw,
    Reply,
    Request,
    Silence,
    crc32c,
    in_turn,
)
from tests.servers.scripted.hello import (
    arbiter,
    ghost,
    mongos,
    primary,
    secondary,
    standalone,
    too_new,
    too_old,
)
from tests.servers.scripted.login import (
    Login,
    scram_username,
)
from tests.servers.scripted.server import (
    ScriptedServer,
    make_set,
)

__all__ = [
    "Answer",
    "Close",
    "Delay",
    "Drip",
    "Error",
    "Hold",
    "InTurn",
    "Login",
    "Raw",
    "Reply",
    "Request",
    "ScriptedServer",
    "Silence",
    "arbiter",
    "crc32c",
    "ghost",
    "in_turn",
    "make_set",
    "mongos",
    "primary",
    "scram_username",
    "secondary",
    "standalone",
    "too_new",
    "too_old",
]
