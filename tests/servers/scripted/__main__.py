"""`python -m tests.servers.scripted`: a scripted server with a login, to play with."""

from __future__ import annotations

import contextlib
import threading

from tests.servers.scripted import Login, ScriptedServer


def main() -> None:
    with ScriptedServer(login=Login()) as server:
        print(f"{server.uri()}   Ctrl-C ends it")
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()
    for request in server.requests:
        print(request.connection, request.document)


main()
