"""What commands ask of Locket: its locks and presences."""

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import trio

from bbs.cfdot.errors import Refused
from bbs.cfdot.given import Given
from bbs.cfdot.rendering import Renderer
from bbs.cfdot.target import Target
from bbs.cfdot.unverified_locket import relay
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


def call_locket(name: str, given: Given, target: Target, renderer: Renderer) -> None:
    """Carry out the command called ``name``, whose arguments have been checked.

    Raises:
      Refused: it could not be.
    """
    for resource in trio.run(_call_locket, name, given, target):
        renderer.show(resource.to_wire())
    renderer.flush()


async def _call_locket(name: str, given: Given, target: Target) -> Sequence[Resource]:
    """What fails is raised outside of the nursery, which would make a group of it."""
    failure: Exception | None = None
    resources: Sequence[Resource] = ()
    async with trio.open_nursery() as nursery:
        try:
            settings = await _settings(target, nursery)
            with trio.fail_after(target.timeout_s or math.inf):
                async with open_locket(settings, log=null_logger()) as locket:
                    resources = await CALLS[name](locket, given)
        except (LocketError, LocketUnreachable, TLSFilesInvalid) as error:
            failure = error
        except trio.TooSlowError:
            failure = TimeoutError(f"Locket at {target.address} has not answered within {target.timeout_s} s")
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise Refused(str(failure)) from failure
    return resources


async def _settings(target: Target, nursery: trio.Nursery) -> LocketSettings:
    if not target.is_tls:
        return LocketSettings(address=target.address, tls=None)
    if target.skip_verify:
        return LocketSettings(address=await nursery.start(relay, target), tls=None)
    files = TLSFiles(ca_file=target.ca_file, cert_file=target.cert_file, key_file=target.key_file)
    return LocketSettings(address=target.address, tls=files)


async def _locks(locket: Locket, _: Given) -> Sequence[Resource]:
    return await locket.fetch_all(TypeCode.LOCK, deadline_s=None)


async def _presences(locket: Locket, _: Given) -> Sequence[Resource]:
    return await locket.fetch_all(TypeCode.PRESENCE, deadline_s=None)


async def _claim_lock(locket: Locket, given: Given) -> Sequence[Resource]:
    return await _claim(locket, given, TypeCode.LOCK)


async def _claim_presence(locket: Locket, given: Given) -> Sequence[Resource]:
    return await _claim(locket, given, TypeCode.PRESENCE)


async def _claim(locket: Locket, given: Given, type_code: TypeCode) -> Sequence[Resource]:
    flags = given.flags
    resource = Resource(
        key=flags.text("key"),
        owner=flags.text("owner"),
        value=flags.text("value"),
        type=TYPE_NAMES[type_code],
        type_code=type_code,
    )
    await locket.lock(resource, ttl_s=flags.number("ttl"), deadline_s=None, wait_for_ready=False)
    return ()


async def _release_lock(locket: Locket, given: Given) -> Sequence[Resource]:
    flags = given.flags
    await locket.release(
        Resource(key=flags.text("key"), owner=flags.text("owner"), type="", type_code=TypeCode.UNKNOWN)
    )
    return ()


CALLS: Final[Mapping[str, Callable[[Locket, Given], Awaitable[Sequence[Resource]]]]] = {
    "claim-lock": _claim_lock,
    "claim-presence": _claim_presence,
    "locks": _locks,
    "presences": _presences,
    "release-lock": _release_lock,
}
