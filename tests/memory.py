"""What is still in memory, be it in use or left for the garbage collection to find."""

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def without_collection() -> Iterator[None]:
    """Collect now, and not again until the block ends: so objects that only refer to each other stay."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@contextmanager
def traced_bytes() -> Iterator[Callable[[], int]]:
    """Count what is allocated in the block and not freed, `without_collection`. Gives a function that says how much it is."""
    with without_collection():
        tracemalloc.start()
        try:
            yield lambda: tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()


def alive(*kinds: type) -> list[object]:
    """All objects of these kinds, of those that a garbage collection looks at."""
    return [each for each in gc.get_objects() if isinstance(each, kinds)]
