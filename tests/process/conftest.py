"""A real Postgres, as the store's tests have it."""

from tests.store.conftest import postgres

__all__ = ["postgres"]
