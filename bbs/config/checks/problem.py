"""What a check finds, and the steps of upstream's start at which it would come upon it. spec: config.md §4"""

from dataclasses import dataclass

EXIT_FAILED = 1
EXIT_FATAL = 2

# Those between are no business of the configuration alone.
LOGGER, METRICS, HEALTH_ADDRESS, ENCRYPTION, DATABASE, REPS, AUCTIONEER = 2, 3, 4, 5, 6, 9, 10
ACCESS_LOG, SERVER_TLS, LOCKET, UUID, TICKERS, MEMBERS = 11, 12, 13, 14, 15, 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """``action`` and ``error`` are what the server logs, in upstream's words; the rest is for people.

    Without an ``action`` nothing is logged, as there may be no log yet: the error goes to standard error. ``key`` names
    the place in the file, and ``advice`` says what to do.
    """

    step: int
    action: str
    error: str
    key: str
    advice: str
    exit_code: int = EXIT_FATAL
    data: tuple[tuple[str, object], ...] = ()
