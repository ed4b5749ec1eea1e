"""Why the embedded Postgres cannot run, or cannot run any more."""


class EmbeddedPostgresFailed(Exception):
    """The embedded Postgres cannot run. The text is for a person: what failed, what to do, the end of its log."""


class EmbeddedPostgresLost(Exception):
    """It ran, died, and cannot be started again. The text is for a person too."""
