"""The entry of the console script: hands over to click, or says how to install it.

Must not import click or rich at the top, as `mongokey` is installed without them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from mongokey.cli.exit_codes import FAILED, INTERRUPTED, NOT_INSTALLED


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line with `arguments`, by default the process's; always exits."""
    if arguments is None and sys.argv[1:2] == ["run"]:
        from mongokey.cli.run_command import run

        # Neither click nor anything else of this package between the program and its end.
        run(sys.argv[2:])
        return
    try:
        import click

        from mongokey.cli.app import cli
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("click", "rich"):
            raise
        print(
            f"mongokey: the command line needs {package}, which is not installed: "
            "pip install 'mongokey[cli]'",
            file=sys.stderr,
        )
        # The codes of `check` are of its steps: 3 is DNS there.
        given = sys.argv[1:] if arguments is None else arguments
        is_check = bool(given) and given[0] == "check"
        raise SystemExit(FAILED if is_check else NOT_INSTALLED) from None
    held = [sys.argv[1:] if arguments is None else list(arguments)]
    arguments = None
    code: object = 0
    try:
        # Not as click ends a program, which is with 1 for a Ctrl-C.
        code = cli.main(args=held.pop(), prog_name="mongokey", standalone_mode=False)
    except SystemExit as ended:
        code = ended.code
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except (click.Abort, KeyboardInterrupt):
        code = INTERRUPTED
    except BrokenPipeError:
        # Who read the output has gone: what is left of it goes nowhere, at the very end too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    # Anew: the frames that the other came through have the arguments, secrets among them.
    raise SystemExit(code if isinstance(code, int) else 0)
