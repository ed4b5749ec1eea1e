"""What a failure is about: nurseries raise groups of exceptions, and a nursery inside another makes a group in a group."""

from typing import TypeVar

Failure = TypeVar("Failure", bound=BaseException)


def root_cause(error: BaseException) -> BaseException:
    """What went wrong first: the first of a group, and of the groups in it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def first_of(kind: type[Failure], failure: BaseException) -> Failure | None:
    """The first ``kind`` in ``failure``, which may be a group of several; None if there is none."""
    if isinstance(failure, kind):
        return failure
    if isinstance(failure, BaseExceptionGroup):
        for each in failure.exceptions:
            found = first_of(kind, each)
            if found is not None:
                return found
    return None
