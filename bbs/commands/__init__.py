"""What the ``bbs`` command does, from its arguments to its exit code.

Others use `entry.main` only. It runs either `daemon`, which is upstream's server (``bbs -config FILE``), or `cli`, which has
our own subcommands: ``serve``, ``check-config``, ``certs``.
"""
