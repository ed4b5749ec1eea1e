"""The dashboard, put together."""

from collections.abc import Iterable
from typing import Final, NoReturn

import trio
from quart_trio import QuartTrio

from bbs.dashboard.cell_use import CellUses
from bbs.dashboard.happenings import Happenings
from bbs.dashboard.history import History
from bbs.dashboard.live import Live
from bbs.dashboard.pages import add_pages
from bbs.dashboard.sources import Sources
from bbs.dashboard.views import Views
from bbs.log import Logger
from bbs.models.outcome import Announcement


class Dashboard:
    """To be mounted into an application, and run. It reads what ``sources`` have, and changes nothing."""

    def __init__(self, sources: Sources, *, log: Logger) -> None:
        self._log: Final = log.session("dashboard")
        self._history = History(
            sources.metrics, store=sources.store, hubs=sources.hubs, wall_ns=sources.wall_ns, log=self._log
        )
        self._cell_uses = CellUses(sources.tables, sources.cells)
        views = Views(sources, self._cell_uses, self._history)
        self.live: Final = Live(views.by_name, header=views.header, now_ns=sources.now_ns, log=self._log)
        self.happenings: Final = Happenings(sources.now_ns, self.live.greeting, self._log)

    def mount(self, app: QuartTrio) -> None:
        """Add its pages, all of which are below ``/dashboard/``. Who may see them is for the application to decide."""
        add_pages(app, self.live, self.happenings, log=self._log)

    def published(self, announcements: Iterable[Announcement]) -> None:
        """Is to be called with all that is announced, in the order of commits. Costs next to nothing while nobody looks."""
        self.happenings.published(announcements)

    async def run(self, *, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> NoReturn:
        """Keep it up to date until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._history.run)
            nursery.start_soon(self._cell_uses.run)
            nursery.start_soon(self.live.run)
            nursery.start_soon(self.happenings.run)
            task_status.started()
        raise AssertionError("its tasks never end")
