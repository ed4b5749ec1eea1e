"""Real databases, as the store's tests have them."""

from tests.store.conftest import mysql, postgres, sql

__all__ = ["mysql", "postgres", "sql"]
