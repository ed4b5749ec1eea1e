"""What commands ask of Locket: its locks and presences."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from bbs.cfdot.errors import Refused
from bbs.cfdot.given import Given
from bbs.cfdot.rendering import Renderer
from bbs.cfdot.target import Target
from bbs.log import null_logger
from bbs.sync.locket.client import (
    TYPE_NAMES,
    Locket,
    LocketError,
    LocketSettings,
    LocketUnreachable,
    Resource,
    TypeCode,
    open_locket,
)
from bbs.tls.contexts import TLSFiles, TLSFilesInvalid


@dataclass(frozen=True, slots=True)
class Call:
    """A command under way."""

    locket: Locket
    given: Given
    renderer: Renderer


def call_locket(name: str, given: Given, target: Target, renderer: Renderer) -> None:
    """Carry out the command called ``name``, whose arguments have been checked.

    Raises:
      Refused: it could not be.
    """
    trio.run(_call_locket, name, given, target, renderer)


async def _call_locket(name: str, given: Given, target: Target, renderer: Renderer) -> None:
    files = TLSFiles(ca_file=target.ca_file, cert_file=target.cert_file, key_file=target.key_file)
    try:
        async with open_locket(
            LocketSettings(address=target.address, tls=files), log=null_logger()
        ) as locket:
            await CALLS[name](Call(locket, given, renderer))
    except (LocketError, LocketUnreachable, TLSFilesInvalid) as error:
        raise Refused(str(error)) from error
    finally:
        renderer.flush()


async def _list(call: Call, type_code: TypeCode) -> None:
    for resource in await call.locket.fetch_all(type_code, deadline_s=None):
        call.renderer.show(resource.to_wire())


async def _locks(call: Call) -> None:
    await _list(call, TypeCode.LOCK)


async def _presences(call: Call) -> None:
    await _list(call, TypeCode.PRESENCE)


async def _claim(call: Call, type_code: TypeCode) -> None:
    flags = call.given.flags
    resource = Resource(
        key=flags.text("key"),
        owner=flags.text("owner"),
        value=flags.text("value"),
        type=TYPE_NAMES[type_code],
        type_code=type_code,
    )
    await call.locket.lock(resource, ttl_s=flags.number("ttl"), deadline_s=None, wait_for_ready=False)


async def _claim_lock(call: Call) -> None:
    await _claim(call, TypeCode.LOCK)


async def _claim_presence(call: Call) -> None:
    await _claim(call, TypeCode.PRESENCE)


async def _release_lock(call: Call) -> None:
    flags = call.given.flags
    await call.locket.release(
        Resource(key=flags.text("key"), owner=flags.text("owner"), type="", type_code=TypeCode.UNKNOWN)
    )


CALLS: Final[Mapping[str, Callable[[Call], Awaitable[None]]]] = {
    "claim-lock": _claim_lock,
    "claim-presence": _claim_presence,
    "locks": _locks,
    "presences": _presences,
    "release-lock": _release_lock,
}
