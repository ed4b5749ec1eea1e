"""The BBS of Cloud Foundry's Diego: the one authority on what should run and what does run on a fleet of cells."""

__version__ = "0.1.0"
