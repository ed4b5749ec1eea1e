"""Finds out the facts of a deployment: beside one of its servers with its configuration, or from anywhere as a client. Changes
nothing anywhere.

Everybody is asked at once, and whoever does not answer within a deadline is told of as one who does not. A part of the
configuration that a server would refuse is not tried: the refusal is told, and those it concerns are left out.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from time import time_ns
from typing import Final, Literal

import httpx
import trio
from cryptography import x509
from prometheus_client.parser import text_string_to_metric_families

from bbs.client import ClientConfig, TransportError
from bbs.client import http_get as get
from bbs.config import checks as config_checks
from bbs.config.cautions import cautions
from bbs.config.upstream import Decoded, UpstreamConfig
from bbs.doctor.client import ask_as_client, rows_for_client
from bbs.doctor.facts import CertificateFile, DatabaseSays, Facts, ProcessSays, Rows, Unknown
from bbs.doctor.rows import stored_rows
from bbs.log import null_logger
from bbs.ports.listen import AddressInvalid, PortUnknown, split_address
from bbs.store.asyncio_loop import open_asyncio_loop
from bbs.store.backend import BackendUnavailable, StatementRejected
from bbs.store.copying import Tables as StoredTables
from bbs.store.crypto import Keyring
from bbs.store.schema import KEY_LABEL_ID, VERSION_ID, SchemaError, version_of
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
from bbs.tls.contexts import StrPath, TLSFilesInvalid, client_context

ASK_S: Final = 10.0
"""How long one of those who are asked may take to answer, but for the rows, which are many."""

ANY_INTERFACE: Final = frozenset(("", "0.0.0.0", "::"))

REFUSED: Final = "not asked: the configuration has to be put right first"

CERTIFICATE_KEYS: Final = (
    "ca_file", "cert_file", "rep_ca_cert", "rep_client_cert", "auctioneer_ca_cert", "auctioneer_client_cert",
    "locket_ca_cert_file", "locket_client_cert_file",
)  # fmt: skip


NO_CONFIG: Final = "not looked at, since no configuration is given: -config FILE"
NO_BBS: Final = "not looked at, since no BBS is given to ask as a client: --bbsURL URL"
NO_LOCKET: Final = "not looked at, since no Locket is given: --locketAPILocation HOST:PORT"
NO_HEALTH: Final = "not looked at, since no health port is given: --health HOST:PORT"
NO_DEBUG: Final = "not looked at, since no debug port is given: --debug HOST:PORT"


CA_KEYS: Final = frozenset(
    (
        "ca_file",
        "rep_ca_cert",
        "auctioneer_ca_cert",
        "locket_ca_cert_file",
        "loggregator.loggregator_ca_path",
        "caCertFile",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Whom to ask beside, or instead of, those that the configuration names: ``health`` and ``debug`` are ``host:port``, ``bbs`` is
    how a client reaches the server, and ``locket`` how it reaches Locket.
    """

    health: str = ""
    debug: str = ""
    bbs: ClientConfig | None = None
    locket: LocketSettings | Unknown = field(default_factory=partial(Unknown, NO_LOCKET, is_asked=False))


async def find_out(decoded: Decoded | None, where: Where) -> Facts:
    """Ask everybody. With a configuration rows come from its database, else from the server that ``where`` names."""
    refused: set[int] = set()
    if decoded is None:
        facts = _nothing_known(NO_CONFIG)
        facts = replace(facts, configuration=Unknown(NO_CONFIG, is_asked=False))
    else:
        problems = list(config_checks.problems(decoded.config))
        refused = {problem.step for problem in problems}
        facts = replace(
            _nothing_known(REFUSED),
            active_key_label=decoded.config.active_key_label,
            key_labels=frozenset(decoded.config.encryption_keys),
            problems=(
                *(f"{wrong.key} {wrong.explanation}" for wrong in decoded.wrong),
                *(f"{problem.key}: {problem.error or problem.action}" for problem in problems),
            ),
            cautions=tuple(cautions(decoded.config, unknown=decoded.unknown, repeated=decoded.repeated)),
        )
    config = decoded.config if decoded is not None else None
    shown: tuple[CertificateFile, ...] = ()

    async def ask_locket(settings: LocketSettings) -> None:
        nonlocal facts
        master, cells = await _locket(settings)
        facts = replace(facts, master=master, cells=cells)

    async def ask_process() -> None:
        nonlocal facts
        says = await _process(where.health or (config.health_address if config else ""))
        facts = replace(facts, process=says)

    async def ask_metrics() -> None:
        nonlocal facts
        says = await _metrics(where.debug or (config.debug_address if config else ""))
        facts = replace(facts, metrics=says)

    async def ask_auctioneer(config: UpstreamConfig) -> None:
        nonlocal facts
        says = await _auctioneer(config)
        facts = replace(facts, auctioneer=says)

    async def ask_bbs(bbs: ClientConfig) -> None:
        nonlocal facts, shown
        answers, shown = await ask_as_client(bbs, deadline_s=ASK_S)
        facts = replace(facts, answers=answers)

    async with trio.open_nursery() as nursery:
        if not isinstance(where.locket, Unknown):
            nursery.start_soon(ask_locket, where.locket)
        elif config is None:
            facts = replace(facts, master=where.locket, cells=where.locket)
        elif config_checks.LOCKET not in refused:
            nursery.start_soon(ask_locket, _locket_settings(config))
        if config_checks.HEALTH_ADDRESS not in refused or where.health:
            nursery.start_soon(ask_process)
        if config is not None and config_checks.AUCTIONEER not in refused:
            nursery.start_soon(ask_auctioneer, config)
        nursery.start_soon(ask_metrics)
        if where.bbs is not None:
            nursery.start_soon(ask_bbs, where.bbs)
    facts = replace(facts, certificates=(*_certificates(decoded, where), *shown))
    # Rows come last, since what they say depends on which cells there are.
    if config is None and where.bbs is not None:
        if isinstance(facts.answers, Unknown):
            rows: Rows | Unknown = Unknown("the BBS does not answer", is_asked=False, see="requests")
        else:
            rows = await rows_for_client(where.bbs, facts.cells)
        facts = replace(facts, rows=rows)
    elif config is not None and refused.isdisjoint((config_checks.ENCRYPTION, config_checks.DATABASE)):
        database, rows = await _database(config, facts.cells)
        facts = replace(facts, database=database, rows=rows)
    return replace(facts, now_ns=time_ns())


def _nothing_known(why: str) -> Facts:
    unknown = Unknown(why, is_asked=False)
    return Facts(
        now_ns=time_ns(),
        active_key_label="",
        key_labels=frozenset(),
        master=unknown,
        cells=unknown,
        process=unknown,
        database=unknown,
        rows=unknown,
        metrics=unknown,
        auctioneer=unknown,
        answers=Unknown(NO_BBS, is_asked=False),
    )


def _certificates(decoded: Decoded | None, where: Where) -> Iterator[CertificateFile]:
    named: list[tuple[str, StrPath | None]] = []
    if decoded is not None:
        config, metrics = decoded.config, decoded.config.loggregator
        named += [(key, getattr(config, key)) for key in CERTIFICATE_KEYS]
        named += [
            ("loggregator.loggregator_ca_path", metrics.loggregator_ca_path),
            ("loggregator.loggregator_cert_path", metrics.loggregator_cert_path),
        ]
    if where.bbs is not None:
        named += [("caCertFile", where.bbs.ca_file), ("clientCertFile", where.bbs.cert_file)]
    for key, path in named:
        if path:
            ends = _ends(Path(path))
            if isinstance(ends, Unknown):
                yield CertificateFile(key=key, path=str(path), ends=ends)
            else:
                last = max(ends) if key in CA_KEYS else None
                yield CertificateFile(key=key, path=str(path), ends=min(ends), last_ends=last)


def _ends(path: Path) -> list[datetime] | Unknown:
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        return Unknown(error.strerror or "it can't be read")
    except ValueError:
        return Unknown("there is no certificate in it")
    return [certificate.not_valid_after_utc for certificate in found]


def _locket_settings(config: UpstreamConfig) -> LocketSettings:
    return LocketSettings(
        address=config_checks.locket_target(config.locket_address), tls=config_checks.locket_files(config)
    )


async def _locket(settings: LocketSettings) -> tuple[MasterKnown | Unknown, frozenset[str] | Unknown]:
    address = settings.address
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
        return Unknown(NO_HEALTH, is_asked=False)
    try:
        _, active = await get(_url(address, "/active"), ssl_context=None, timeout_s=ASK_S)
        _, ready = await get(_url(address, "/ready"), ssl_context=None, timeout_s=ASK_S)
        if not active:
            return Unknown("upstream's server, which does not say whether it is the master", is_asked=False)
        master = json.loads(active)["master"]
        since, owner = master["since"], master.get("owner")
        return ProcessSays(
            active_since=datetime.fromisoformat(since) if since else None,
            not_ready=json.loads(ready).get("reason", ""),
            owner=str(owner or "") if since else "",
        )
    except (AddressInvalid, PortUnknown, TransportError) as error:
        return Unknown(f"no answer at the health port {address}: {error}")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unknown(f"at the health port {address} somebody else answers than a BBS")


async def _metrics(address: str) -> Mapping[str, float] | Unknown:
    """The samples without labels."""
    if not address:
        return Unknown(NO_DEBUG, is_asked=False)
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
                return database, Unknown("there are no tables yet", is_asked=False, see="schema")
            keyring = Keyring(config.encryption_keys, config.active_key_label)
            return database, await stored_rows(stored, keyring, cells)
        except (BackendUnavailable, StatementRejected, SchemaError) as error:
            why = Unknown(f"{stored.name}: {error}", see="database")
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
