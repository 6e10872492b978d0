from typing import Any

def load_functions(lib: Any, ffi: Any) -> bool:
    """Take the functions' addresses; False if one of them is not what is expected here."""

def bindings() -> tuple[Any, Any]:
    """The bindings that the functions are from: their `lib` and `ffi`; None before they are."""
