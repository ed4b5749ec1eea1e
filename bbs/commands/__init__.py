"""What the ``bbs`` command does, from its arguments to its exit code."""
