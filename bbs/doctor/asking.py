"""Finds out the facts of a deployment, with the configuration of one of its servers and beside it. Changes nothing anywhere.

Everybody is asked at once, and whoever does not answer within a deadline is told of as one who does not. A part of the
configuration that a server would refuse is not tried: the refusal is told, and those it concerns are left out.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from time import time_ns
from typing import Final, Literal

import httpx
import trio
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from bbs.client import TransportError
from bbs.client import http_get as get
from bbs.concurrency.turns import TimedTurns, sliced
from bbs.config import checks as config_checks
from bbs.config.cautions import cautions
from bbs.config.upstream import Decoded, UpstreamConfig
from bbs.convergence.lrp_sets import Finder, LRPSets
from bbs.doctor.facts import CertificateFile, DatabaseSays, Facts, ProcessSays, Rows, Unknown
from bbs.lifecycle.domains import is_expired
from bbs.log import null_logger
from bbs.models.actual_lrp import ActualLRP
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.domain import Domain
from bbs.models.outcome import Record, delete
from bbs.ports.listen import AddressInvalid, PortUnknown, split_address
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.codecs import CODECS
from bbs.store.codecs.columns import Values
from bbs.store.copying import Tables as StoredTables
from bbs.store.crypto import Keyring
from bbs.store.schema import KEY_LABEL_ID, VERSION_ID, SchemaError, version_of
from bbs.store.store import LANDED_IN_A_TURN
from bbs.store.tables import Tables
from bbs.sync.locket.client import (
    Code,
    GRPCLocket,
    LocketError,
    LocketSettings,
    LocketUnreachable,
    open_locket,
)
from bbs.sync.locket.lock import KEY
from bbs.sync.locket.master import NOBODY, MasterKnown
from bbs.sync.locket.presences import Presences
from bbs.tls.contexts import TLSFilesInvalid, client_context

ASK_S: Final = 10.0
"""How long one of those who are asked may take to answer, but for the rows, which are many."""

ANY_INTERFACE: Final = frozenset(("", "0.0.0.0", "::"))

REFUSED: Final = "not asked: the configuration has to be put right first"

CERTIFICATE_KEYS: Final = (
    "ca_file", "cert_file", "rep_ca_cert", "rep_client_cert", "auctioneer_ca_cert", "auctioneer_client_cert",
    "locket_ca_cert_file", "locket_client_cert_file",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Addresses to use instead of the configuration's, each ``host:port``."""

    health: str = ""
    debug: str = ""


async def find_out(decoded: Decoded, where: Where) -> Facts:
    """Ask everybody."""
    config = decoded.config
    problems = list(config_checks.problems(config))
    refused = {problem.step for problem in problems}
    facts = Facts(
        now_ns=time_ns(),
        active_key_label=config.active_key_label,
        key_labels=frozenset(config.encryption_keys),
        problems=(
            *(f"{wrong.key} {wrong.explanation}" for wrong in decoded.wrong),
            *(f"{problem.key}: {problem.error or problem.action}" for problem in problems),
        ),
        cautions=tuple(cautions(config, unknown=decoded.unknown, repeated=decoded.repeated)),
        certificates=tuple(_certificates(config)),
        master=Unknown(REFUSED, is_asked=False),
        cells=Unknown(REFUSED, is_asked=False),
        process=Unknown(REFUSED, is_asked=False),
        database=Unknown(REFUSED, is_asked=False),
        rows=Unknown(REFUSED, is_asked=False),
        metrics=Unknown(REFUSED, is_asked=False),
        auctioneer=Unknown(REFUSED, is_asked=False),
    )

    async def ask_locket() -> None:
        nonlocal facts
        master, cells = await _locket(config)
        facts = replace(facts, master=master, cells=cells)

    async def ask_process() -> None:
        nonlocal facts
        says = await _process(where.health or config.health_address)
        facts = replace(facts, process=says)

    async def ask_metrics() -> None:
        nonlocal facts
        says = await _metrics(where.debug or config.debug_address)
        facts = replace(facts, metrics=says)

    async def ask_auctioneer() -> None:
        nonlocal facts
        says = await _auctioneer(config)
        facts = replace(facts, auctioneer=says)

    async with trio.open_nursery() as nursery:
        if config_checks.LOCKET not in refused:
            nursery.start_soon(ask_locket)
        if config_checks.HEALTH_ADDRESS not in refused or where.health:
            nursery.start_soon(ask_process)
        if config_checks.AUCTIONEER not in refused:
            nursery.start_soon(ask_auctioneer)
        nursery.start_soon(ask_metrics)
    if refused.isdisjoint((config_checks.ENCRYPTION, config_checks.DATABASE)):
        # Last, since what the rows say depends on which cells there are.
        database, rows = await _database(config, facts.cells)
        facts = replace(facts, database=database, rows=rows)
    return replace(facts, now_ns=time_ns())


def _certificates(config: UpstreamConfig) -> Iterator[CertificateFile]:
    named = [(key, getattr(config, key)) for key in CERTIFICATE_KEYS]
    metrics = config.loggregator
    named += [
        ("loggregator.loggregator_ca_path", metrics.loggregator_ca_path),
        ("loggregator.loggregator_cert_path", metrics.loggregator_cert_path),
    ]
    for key, path in named:
        if path:
            yield CertificateFile(key=key, path=path, ends=_ends(Path(path)))


def _ends(path: Path) -> datetime | Unknown:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return Unknown(error.strerror or "it can't be read")
    except ValueError:
        return Unknown("there is no certificate in it")
    return min(certificate.not_valid_after_utc for certificate in found)


async def _locket(config: UpstreamConfig) -> tuple[MasterKnown | Unknown, frozenset[str] | Unknown]:
    address = config.locket_address
    settings = LocketSettings(
        address=config_checks.locket_target(address), tls=config_checks.locket_files(config)
    )
    try:
        async with open_locket(settings, log=null_logger()) as locket:
            master = await _master(locket)
            cells = await Presences(locket, deadline_s=ASK_S).present_cells(log=null_logger())
            return master, frozenset(cells)
    except LocketUnreachable:
        why = Unknown(f"no connection to Locket at {address}")
    except (LocketError, TLSFilesInvalid) as error:
        why = Unknown(f"Locket at {address}: {error}")
    return why, why


async def _master(locket: GRPCLocket) -> MasterKnown:
    try:
        lock = await locket.fetch(KEY, deadline_s=ASK_S)
    except LocketError as error:
        if error.code == Code.NOT_FOUND:
            return NOBODY
        raise
    return MasterKnown(lock.owner, lock.value)


async def _process(address: str) -> ProcessSays | Unknown:
    if not address:
        return Unknown("there is no health_address", is_asked=False)
    try:
        _, active = await get(_url(address, "/active"), ssl_context=None, timeout_s=ASK_S)
        _, ready = await get(_url(address, "/ready"), ssl_context=None, timeout_s=ASK_S)
        if not active:
            return Unknown("upstream's server, which does not say whether it is the master", is_asked=False)
        since = json.loads(active)["master"]["since"]
        return ProcessSays(
            active_since=datetime.fromisoformat(since) if since else None,
            not_ready=json.loads(ready).get("reason", ""),
        )
    except (AddressInvalid, PortUnknown, TransportError) as error:
        return Unknown(f"no answer at the health port {address}: {error}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unknown(f"at the health port {address} somebody else answers than a BBS")


async def _metrics(address: str) -> Mapping[str, float] | Unknown:
    """The samples without labels."""
    if not address:
        return Unknown("there is no debug_address to ask; --debug HOST:PORT gives one", is_asked=False)
    try:
        status, page = await get(_url(address, "/metrics"), ssl_context=None, timeout_s=ASK_S)
        if status != 200:
            return Unknown(f"the debug port {address} has no page of metrics", is_asked=False)
        return {
            sample.name: float(sample.value)
            for family in text_string_to_metric_families(page.decode())
            for sample in family.samples
            if not sample.labels
        }
    except (AddressInvalid, PortUnknown, TransportError) as error:
        return Unknown(f"no answer at the debug port {address}: {error}")
    except ValueError:
        return Unknown(f"at the debug port {address} somebody else answers than a BBS")


def _url(address: str, path: str) -> str:
    """On this machine, if it listens everywhere."""
    host, port = split_address(address)
    host = "127.0.0.1" if host in ANY_INTERFACE else host
    return f"http://{f'[{host}]' if ':' in host else host}:{port}{path}"


async def _auctioneer(config: UpstreamConfig) -> Literal[True] | Unknown:
    url, files = httpx.URL(config.auctioneer_address), config_checks.auctioneer_files(config)
    port = url.port or (443 if url.scheme == "https" else 80)
    try:
        with trio.fail_after(ASK_S):
            stream: trio.abc.Stream = await trio.open_tcp_stream(url.host, port)
            async with stream:
                if files is not None and (url.scheme == "https" or config.auctioneer_require_tls):
                    context = client_context(
                        ca_file=files.ca_file, cert_file=files.cert_file, key_file=files.key_file
                    )
                    tls = trio.SSLStream(stream, context, server_hostname=url.host, https_compatible=True)
                    await tls.do_handshake()
    except trio.TooSlowError:
        return Unknown(f"no answer from {url.host}:{port} within {ASK_S:.0f} s")
    except trio.BrokenResourceError as error:
        return Unknown(f"no TLS with {url.host}:{port}: {error.__cause__ or error}")
    except (OSError, TLSFilesInvalid) as error:
        return Unknown(f"no connection to {url.host}:{port}: {error}")
    return True


async def _database(
    config: UpstreamConfig, cells: frozenset[str] | Unknown
) -> tuple[DatabaseSays | Unknown, Rows | Unknown]:
    async with open_asyncio_loop(null_logger()):
        stored = config_checks.configured_database(config).tables()
        database: DatabaseSays | Unknown
        try:
            database = await _database_itself(stored)
            if database.schema_version is None:
                return database, Unknown("there are no tables yet", is_asked=False)
            keyring = Keyring(config.encryption_keys, config.active_key_label)
            try:
                return database, await _rows(stored, keyring, cells)
            except (BackendUnavailable, StatementRejected) as error:
                return database, Unknown(f"{stored.name}: {error}")
        except (BackendUnavailable, StatementRejected, SchemaError) as error:
            why = Unknown(f"{stored.name}: {error}")
            return why, why
        finally:
            await stored.aclose()


async def _database_itself(stored: StoredTables) -> DatabaseSays:
    await stored.server_version()  # connects, which is not part of a round trip
    began = trio.current_time()
    version = await stored.server_version()
    took_s = trio.current_time() - began
    schema_version = await stored.configuration(VERSION_ID)
    return DatabaseSays(
        version=version,
        round_trip_s=took_s,
        schema_version=None if schema_version is None else version_of(schema_version),
        key_label=await stored.configuration(KEY_LABEL_ID),
    )


async def _rows(stored: StoredTables, keyring: Keyring, cells: frozenset[str] | Unknown) -> Rows:
    """What a convergence pass would make of the rows. They are pruned first, as a pass does.

    Raises:
      BackendUnavailable, StatementRejected: they can't be read.
    """
    tables, unreadable = Tables(), Counter[str]()
    turns = TimedTurns()
    record_classes: tuple[type[Record], ...] = (Domain, DesiredLRP, ActualLRP)
    for record_class in record_classes:
        codec, after = CODECS[record_class], Values()
        while page := await stored.page(record_class, after):
            after = page[-1][: codec.key_columns]
            for some in sliced(page, LANDED_IN_A_TURN):
                rows, undecodable = codec.decode_rows(some, keyring)
                tables.apply(rows)
                unreadable[codec.table] += len(undecodable)
                await turns.checkpoint_if_due()
    now_ns = time_ns()
    domains: Sequence[Domain] = tuple(tables.domains.rows.values())
    used = {lrp.domain for lrp in tables.actual_lrps.rows.values()}
    used |= {lrp.domain for lrp in tables.desired_lrps.rows.values()}
    work: LRPSets | Unknown = Unknown("which cells there are", is_asked=False)
    evacuating = 0
    if not isinstance(cells, Unknown):
        tables.apply(delete(domain) for domain in domains if is_expired(domain, now_ns=now_ns))
        finder = Finder(tables, cells, now_ns=now_ns)
        to_prune = await finder.evacuating_to_prune()
        evacuating = len(to_prune)
        tables.apply(delete(tables.actual_lrps.rows[key]) for key in to_prune)
        work = await finder.sets()
    return Rows(
        domains=tuple(domains),
        used_domains=frozenset(used),
        unreadable={table: count for table, count in unreadable.items() if count},
        evacuating_to_prune=evacuating,
        work=work,
    )
