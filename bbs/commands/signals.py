"""How a signal ends a server."""

import signal

import trio

from bbs.log import Logger


async def stop_on_signal(
    until_stopped: trio.CancelScope,
    log: Logger,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Cancel ``until_stopped`` at the first SIGINT or SIGTERM. A second one hurries nothing: what is in flight is being
    answered.
    """
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for number in signals:
            if not until_stopped.cancel_called:
                log.info("stopping", signal=signal.Signals(number).name)
            until_stopped.cancel()
