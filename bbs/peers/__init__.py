"""The other programs this server calls: the auctioneer, the reps on the cells, and the registry of cells.

Others use the protocols of `bbs.peers.interfaces` and the `EffectQueue` that performs what a decision asked for.
"""
