"""Under which package's name the driver's loggers are found: `mongokey`, or the one it stands for.

Knows names only, so that those who name them need not load `logging`.
"""

from __future__ import annotations

TYPE_CHECKING = False  # the checker takes it for True; importing typing costs
if TYPE_CHECKING:
    from collections.abc import Callable

OWN = "mongokey"

package = OWN
#: What is called after the package has another name, without arguments.
told: list[Callable[[], None]] = []


def name_loggers(name: str) -> None:
    """Have the loggers be ``name.command``, ``name.topology`` and so on from now on."""
    global package
    if name != package:
        package = name
        for each in told:
            each()


def logger_name(component: str) -> str:
    """The name of the logger of a component, such as ``mongokey.topology``."""
    return f"{package}.{component}"
