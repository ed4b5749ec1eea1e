"""The cyclic garbage collector's share of the event loop.

Records are acyclic, so there is next to nothing to find; what costs is looking, and while it looks nobody is answered. A
collection goes through every object of its generation, so one of the oldest would hold the event loop for as long as
hundreds of thousands of records take. So these are frozen once they are loaded: the collector never looks at them again,
and reference counts free them all the same. Young objects are looked at in small portions, each of which takes about a
millisecond. What survives is looked at once more, in portions of a few milliseconds.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

YOUNG_OBJECTS: Final = 5_000
"""New objects between two young collections. A request makes about a hundred."""

YOUNG_COLLECTIONS: Final = 5
"""Young collections between two of what survived them: 25,000 objects, 5 ms. With 100 one held the loop for 140 ms when
a process of 50,000 instances was desired."""

MIDDLE_COLLECTIONS: Final = 2_000
"""Of these, between two collections of everything that is not frozen."""


@contextmanager
def loading() -> Iterator[None]:
    """Around the making of records that stay: no collection meanwhile, and none of them is ever looked at again."""
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()
        gc.set_threshold(YOUNG_OBJECTS, YOUNG_COLLECTIONS, MIDDLE_COLLECTIONS)
