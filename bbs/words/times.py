"""How long ago, and how long, in words. Pure."""

from typing import Final

NS: Final = 10**9
MINUTE_S: Final = 60
HOUR_S: Final = 60 * MINUTE_S
DAY_S: Final = 24 * HOUR_S
NOTHING: Final = "-"
"""What is shown where there is nothing to show."""


def age(since_ns: int, now_ns: int) -> str:
    """How long ago, as `duration` tells it; '-' if never. A clock ahead of ours is taken for now."""
    return duration(now_ns - since_ns) if since_ns > 0 else NOTHING


def duration(lasting_ns: int) -> str:
    """In its two largest units, rounded down: 40s, 3m05s, 2h10m, 9d4h. A negative one is none."""
    seconds = max(0, lasting_ns) // NS
    if seconds < MINUTE_S:
        return f"{seconds}s"
    if seconds < HOUR_S:
        return f"{seconds // MINUTE_S}m{seconds % MINUTE_S:02}s"
    if seconds < DAY_S:
        return f"{seconds // HOUR_S}h{seconds % HOUR_S // MINUTE_S:02}m"
    return f"{seconds // DAY_S}d{seconds % DAY_S // HOUR_S}h"
