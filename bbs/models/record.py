"""How the values that requests make by the dozen are declared: frozen for the type checker, and quick to make.

``@dataclass(frozen=True)`` writes each field through ``object.__setattr__``, which takes twice as long as a plain
assignment: a row with seventeen fields takes 5 us instead of 2, and a claim makes two of those and a dozen small ones. Nobody
can change such a value without mypy's complaint, so the check at run time is left out.
"""

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True, kw_only_default=False)
def value(cls: type[T]) -> type[T]:
    """A dataclass with slots, equal and hashed by its fields, which nobody may change. Fields go by position."""
    return dataclass(slots=True, unsafe_hash=True)(cls)


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(cls: type[T]) -> type[T]:
    """The same, its fields by name."""
    return dataclass(slots=True, unsafe_hash=True, kw_only=True)(cls)
