"""Locket: a client of it, the lock and the presences that live there, and a Locket of our own."""
