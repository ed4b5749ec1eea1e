"""``bbs migrate-database --from URL --to URL``: all rows of one database into another (`bbs.store.copying`)."""

import sys
from contextlib import AsyncExitStack

import trio

from bbs.concurrency.causes import root_cause
from bbs.log import null_logger
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.copying import CannotCopy, copy
from bbs.store.database import database_at
from bbs.store.dsn import BadConnectionString
from bbs.store.schema import SchemaError

EXIT_FAILED = 1
EXIT_NOT_BEGUN = 2
EXIT_INTERRUPTED = 130


def migrate_database(source_url: str, target_url: str) -> int:
    """Copy; returns the exit code: 0 all rows are there, 1 not, 2 a URL makes no sense. Progress is printed, and no secret."""
    try:
        trio.run(_migrate, source_url, target_url)
    except BaseException as error:
        # The end of the process, whatever it was: what is half copied can't be served from, and may be copied again.
        cause = root_cause(error)
        if isinstance(cause, KeyboardInterrupt):
            print("bbs migrate-database: interrupted; the same command begins again", file=sys.stderr)
            return EXIT_INTERRUPTED
        if isinstance(cause, BadConnectionString):
            print(f"bbs migrate-database: {cause}", file=sys.stderr)
            return EXIT_NOT_BEGUN
        if isinstance(cause, CannotCopy | BackendUnavailable | StatementRejected | SchemaError):
            print(f"bbs migrate-database: {cause}", file=sys.stderr)
            return EXIT_FAILED
        raise
    return 0


async def _migrate(source_url: str, target_url: str) -> None:
    source, target = database_at(source_url).tables(), database_at(target_url).tables()
    if source.name == target.name:
        raise CannotCopy(f"{source.name} is given twice: give another one with --to")
    async with open_asyncio_loop(null_logger()), AsyncExitStack() as stack:
        for tables in (source, target):
            stack.push_async_callback(tables.aclose)
        await copy(source, target, lambda line: print(line, flush=True))
