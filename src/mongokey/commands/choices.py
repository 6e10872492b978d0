"""The classes whose attributes name the choices of an argument, for both faces."""


class CursorType:
    """What kind of cursor `find` opens."""

    NON_TAILABLE = 0
    TAILABLE = 2
    TAILABLE_AWAIT = 2 | 32
    EXHAUST = 64


class ReturnDocument:
    """Which document `find_one_and_update` and `find_one_and_replace` return."""

    BEFORE = False
    AFTER = True
