"""Makes the pictures of check.md: real checks of real servers, as a terminal shows them.

`python docs/screenshots.py`, from the repository's root (it takes the servers of the tests). Hosts
and times in them are those of that run.
"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from urllib.parse import quote

from rich.console import Console

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.servers.certificates import Authority  # noqa: E402
from tests.servers.scripted import Login, ScriptedServer  # noqa: E402
from tests.servers.secantus import SecantusServer  # noqa: E402

from mongokey.cli.check import run_check  # noqa: E402
from mongokey.cli.check_output import Printer  # noqa: E402
from mongokey.cli.mistakes import mask  # noqa: E402

FOLDER = Path(__file__).parent
WIDTH = 104


def picture(name: str, title: str, uri: str, **options: str) -> None:
    """Check `uri` and write what a terminal would show to `name`.svg."""
    console = Console(
        file=io.StringIO(),
        record=True,
        width=WIDTH,
        force_terminal=True,
        color_system="truecolor",
        highlight=False,
        markup=False,
    )
    printer = Printer(console, spinner=False)
    printer.heading(mask(uri))
    printer.report(run_check(uri, options, listener=printer))
    path = FOLDER / f"{name}.svg"
    path.write_text(console.export_svg(title=title), encoding="utf-8")
    print(f"{path}: {path.stat().st_size} bytes")


def main() -> None:
    with SecantusServer() as server:
        picture("check-ok", "all is well", server.uri("both", database="admin"))
    with ScriptedServer(login=Login("app", "pencil")) as server:
        uri = f"mongodb://app:{quote('pencil')}@localhost:{server.port}/shop"
        picture("check-login", "the database in the path became the authSource", uri)
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder))
        pair = authority.issue("db", "db1.example.net", "db2.example.net")
        with SecantusServer(tls_cert_file=pair.certificate_file, tls_key_file=pair.key_file) as tls:
            uri = f"mongodb://localhost:{tls.port}/?tls=true"
            picture("check-tls", "another name", uri, tlsCAFile=authority.certificate_file)


if __name__ == "__main__":
    main()
