"""A plugin of pytest's, for suites that make an index of text before every test of theirs.

SecantusDB has no such indexes; with an ascending one in its place, the tests that do not search for
text can run. It is the same for both drivers.
"""

import pymongo

pymongo.TEXT = pymongo.ASCENDING  # type: ignore[assignment]
