"""Carries out what lifecycle decides: changes of rows, and what they ask of peers."""
