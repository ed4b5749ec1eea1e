"""What a client of a BBS can find out of a deployment, ours or upstream's, from wherever it can call it."""

import ssl
from datetime import datetime
from time import time_ns
from typing import Final

import trio
from cryptography import x509

from bbs.client import BBSClient, ClientConfig, InvalidClientConfig, TransportError
from bbs.doctor.facts import Answers, CertificateFile, Rows, Unknown
from bbs.doctor.rows import judged_rows
from bbs.models import pb
from bbs.models.actual_lrp import ActualLRP, ActualLRPState, InstanceKey, ModificationTag, Presence
from bbs.models.desired_lrp import desired_lrp_from_message
from bbs.models.domain import NEVER_NS, Domain
from bbs.models.errors import BBSError
from bbs.models.outcome import put
from bbs.store.tables import Tables

UNREADABLE_UNKNOWN: Final = "not looked at, since no configuration is given, and so no keys: -config FILE"


async def ask_as_client(
    config: ClientConfig, *, deadline_s: float
) -> tuple[Answers | Unknown, tuple[CertificateFile, ...]]:
    """Whether it answers, and the certificate that it shows, if it shows any. Each has ``deadline_s``."""
    try:
        with trio.fail_after(deadline_s):
            async with BBSClient.connect(config) as bbs:
                await bbs.domains()
                answers: Answers | Unknown = Answers(url=config.url, is_master=await bbs.ping())
    except trio.TooSlowError:
        answers = Unknown(f"no answer from {config.url} within {deadline_s:.0f} s")
    except (BBSError, TransportError, InvalidClientConfig) as error:
        answers = Unknown(f"no answer from {config.url}: {error}")
    shown = None
    with trio.move_on_after(deadline_s):
        shown = await _certificate_shown(config)
    if shown is None:
        return answers, ()
    return answers, (
        CertificateFile(key="the server's certificate", path=f"what {config.url} shows", ends=shown),
    )


async def _certificate_shown(config: ClientConfig) -> datetime | None:
    """When the server's certificate expires. None if there is none to see: no TLS, or no connection; that is told already."""
    try:
        if config.ssl_context() is None:
            return None
        # Whatever it shows is looked at, trusted or not: why it is not trusted is told already, and is often that it has expired.
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        url = config.parsed_url()
        stream: trio.abc.Stream = await trio.open_tcp_stream(url.hostname or "", url.port or 443)
        async with stream:
            tls = trio.SSLStream(stream, context, server_hostname=url.hostname, https_compatible=True)
            await tls.do_handshake()
            shown = tls.getpeercert(binary_form=True)
        return x509.load_der_x509_certificate(shown).not_valid_after_utc if shown else None
    except (OSError, trio.BrokenResourceError, InvalidClientConfig, ValueError):
        return None


async def rows_for_client(config: ClientConfig, cells: frozenset[str] | Unknown) -> Rows | Unknown:
    """What a pass would make of the lists. Without Locket (``cells``) the BBS is asked which cells there are."""
    tables = Tables()
    try:
        async with BBSClient.connect(config) as bbs:
            if isinstance(cells, Unknown):
                cells = frozenset(cell.cell_id for cell in await bbs.cells())
            tables.apply(put(Domain(name=name, expire_time_ns=NEVER_NS)) for name in await bbs.domains())
            now_ns = time_ns()
            tables.apply(
                put(desired_lrp_from_message(lrp, tag=_tag(lrp.modification_tag), created_at_ns=now_ns))
                for lrp in await bbs.desired_lrps()
            )
            tables.apply(put(_actual_lrp(lrp)) for lrp in await bbs.actual_lrps())
    except (BBSError, TransportError) as error:
        return Unknown(f"the lists of {config.url}: {error}", is_asked=False, see="requests")
    except ValueError as error:
        return Unknown(f"{config.url} lists what this release does not know: {error}", is_asked=False)
    return await judged_rows(
        tables, cells, unreadable=Unknown(UNREADABLE_UNKNOWN, is_asked=False), are_expiries_known=False
    )


def _tag(tag: pb.ModificationTag) -> ModificationTag:
    return ModificationTag(epoch=tag.epoch, index=tag.index)


def _actual_lrp(lrp: pb.ActualLRP) -> ActualLRP:
    """
    Raises:
      ValueError: its state or its presence is none of ours.
    """
    key = lrp.actual_lrp_key
    return ActualLRP(
        process_guid=key.process_guid,
        index=key.index,
        domain=key.domain,
        presence=Presence(int(lrp.presence)),
        state=ActualLRPState(lrp.state),
        instance=InstanceKey.from_message(lrp.actual_lrp_instance_key),
        internal_routes=tuple(route.hostname for route in lrp.actual_lrp_internal_routes),
        # An instance without any is one whose cell reported none, which never counts as different.
        metric_tags=tuple(sorted(lrp.metric_tags.items())) or None,
        crash_count=lrp.crash_count,
        crash_reason=lrp.crash_reason,
        placement_error=lrp.placement_error,
        since_ns=lrp.since,
        tag=_tag(lrp.modification_tag),
    )
