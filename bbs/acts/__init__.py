"""Carries out what lifecycle decides: changes of rows, and what they ask of peers.

Others use `change.change`, the one way to change rows; `performing.perform`, which takes an outcome's effects apart, with
`performing.AtOnce` or a `Performer` of their own; `effects.Effects`, which calls the peers; `auctions`, what is different
about auctions by their cause; and `resolution.TaskResolution`, the end of a task's life.
"""
