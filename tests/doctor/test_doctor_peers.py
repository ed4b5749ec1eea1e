"""How ``bbs doctor`` takes what answers, or does not, where an auctioneer or a server should be. Nothing else is configured."""

import socket
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from cryptography.x509 import load_pem_x509_certificate

from bbs.client import ClientConfig
from bbs.config.upstream import UpstreamConfig, decode
from bbs.doctor.asking import Where, find_out
from bbs.doctor.facts import Facts, ProcessSays, Unknown
from bbs.log import null_logger
from bbs.ports.health import Probe, ProbeAnswer, serve_health
from bbs.tls.contexts import server_context
from bbs.tls.development import DevelopmentCerts, make_development_certs
from tests.made_once import copied_certs

WITHIN_S = 60.0


async def facts_of(config: UpstreamConfig, *, health: str = "", debug: str = "") -> Facts:
    with trio.fail_after(WITHIN_S):
        return await find_out(replace(decode(b"{}"), config=config), Where(health=health, debug=debug))


@pytest.fixture
def certs(tmp_path: Path) -> DevelopmentCerts:
    return copied_certs(tmp_path / "certs")


async def serve_tls(
    certs: DevelopmentCerts | None, *, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED
) -> None:
    """Shake hands with whoever comes; without certificates, say something that is no TLS."""

    async def handle(stream: trio.SocketStream) -> None:
        if certs is None:
            await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            return
        context = server_context(
            ca_file=certs.ca_cert, cert_file=certs.server_cert, key_file=certs.server_key
        )
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        try:
            await tls.do_handshake()
            await tls.receive_some(1)
        except trio.BrokenResourceError:
            pass

    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(handle, [listener])


def auctioneer_at(port: int, certs: DevelopmentCerts, ca: Path) -> UpstreamConfig:
    return UpstreamConfig(
        auctioneer_address=f"https://127.0.0.1:{port}",
        auctioneer_ca_cert=str(ca),
        auctioneer_client_cert=str(certs.client_cert),
        auctioneer_client_key=str(certs.client_key),
    )


async def test_an_auctioneer_that_is_trusted(certs: DevelopmentCerts, nursery: trio.Nursery) -> None:
    port: int = await nursery.start(serve_tls, certs)

    facts = await facts_of(auctioneer_at(port, certs, certs.ca_cert))

    assert facts.auctioneer is True
    assert facts.database == facts.master == Unknown(facts.database.why, is_asked=False)  # type: ignore[union-attr]  # it is one of these, or the test fails


async def test_an_auctioneer_of_another_ca(
    certs: DevelopmentCerts, nursery: trio.Nursery, tmp_path: Path
) -> None:
    port: int = await nursery.start(serve_tls, certs)
    another = make_development_certs(tmp_path / "another")

    facts = await facts_of(auctioneer_at(port, certs, another.ca_cert))

    assert isinstance(facts.auctioneer, Unknown)
    assert facts.auctioneer.is_asked
    assert facts.auctioneer.why.startswith(f"no TLS with 127.0.0.1:{port}: ")
    assert "certificate verify failed" in facts.auctioneer.why


async def test_an_auctioneer_without_tls(certs: DevelopmentCerts, nursery: trio.Nursery) -> None:
    port: int = await nursery.start(serve_tls, None)

    facts = await facts_of(auctioneer_at(port, certs, certs.ca_cert))

    assert isinstance(facts.auctioneer, Unknown)
    assert facts.auctioneer.why.startswith(f"no TLS with 127.0.0.1:{port}: ")


def bbs_at(port: int, certs: DevelopmentCerts, ca: Path) -> ClientConfig:
    return ClientConfig.with_files(
        f"https://127.0.0.1:{port}", replace(certs.client_files, ca_file=ca), attempts=1
    )


async def test_a_bbs_of_another_ca_is_told_with_the_certificate_that_it_shows(
    certs: DevelopmentCerts, nursery: trio.Nursery, tmp_path: Path
) -> None:
    port: int = await nursery.start(serve_tls, certs)
    another = make_development_certs(tmp_path / "another")

    with trio.fail_after(WITHIN_S):
        facts = await find_out(None, Where(bbs=bbs_at(port, another, another.ca_cert)))

    assert isinstance(facts.answers, Unknown)
    assert facts.answers.is_asked
    assert "certificate" in facts.answers.why
    assert facts.rows == Unknown("the BBS does not answer", is_asked=False, see="requests")
    assert [file.key for file in facts.certificates] == [
        "caCertFile",
        "clientCertFile",
        "the server's certificate",
    ]
    shown = load_pem_x509_certificate(certs.server_cert.read_bytes()).not_valid_after_utc
    assert facts.certificates[-1].ends == shown


async def health_port(nursery: trio.Nursery, probes: dict[str, Probe]) -> str:
    port: int = await nursery.start(partial(serve_health, "127.0.0.1:0", probes, log=null_logger()))
    return f":{port}"


async def test_upstreams_server_is_no_fault(nursery: trio.Nursery) -> None:
    """It answers 200 and nothing else, whatever it is asked."""
    facts = await facts_of(UpstreamConfig(), health=await health_port(nursery, {}))

    assert isinstance(facts.process, Unknown)
    assert not facts.process.is_asked
    assert facts.process.why.startswith("upstream's server")


async def test_a_standby_that_serves_reads(nursery: trio.Nursery) -> None:
    async def active() -> ProbeAnswer:
        return ProbeAnswer(False, {"active": False, "master": {"owner": "o", "url": None, "since": None}})

    async def ready() -> ProbeAnswer:
        return ProbeAnswer(True, {"ready": True})

    address = await health_port(nursery, {"/active": active, "/ready": ready})

    facts = await facts_of(UpstreamConfig(), health=address)

    assert facts.process == ProcessSays(active_since=None, not_ready="")


@pytest.mark.parametrize("says", [{}, {"master": None}, {"master": {"since": "yesterday"}}])
async def test_somebody_else_at_the_health_port(nursery: trio.Nursery, says: dict[str, object]) -> None:
    async def active() -> ProbeAnswer:
        return ProbeAnswer(True, says)

    facts = await facts_of(
        UpstreamConfig(), health=await health_port(nursery, {"/active": active, "/ready": active})
    )

    assert isinstance(facts.process, Unknown)
    assert facts.process.is_asked
    assert "somebody else answers" in facts.process.why


async def test_ports_that_nobody_listens_at() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]

    facts = await facts_of(UpstreamConfig(), health=f"127.0.0.1:{port}", debug="no-port")

    assert isinstance(facts.process, Unknown)
    assert facts.process.why.startswith(f"no answer at the health port 127.0.0.1:{port}: ")
    assert isinstance(facts.metrics, Unknown)
    assert (
        facts.metrics.why == "no answer at the debug port no-port: address no-port: missing port in address"
    )


async def test_of_a_file_of_cas_the_first_and_the_last_to_expire_are_known(tmp_path: Path) -> None:
    def ca(days: int) -> bytes:
        expires = datetime.now(UTC) + timedelta(days=days)
        return bytes(trustme.CA().issue_cert("a", not_after=expires).cert_chain_pems[0].bytes())

    file = tmp_path / "both.pem"
    file.write_bytes(ca(-1) + ca(9))

    facts = await facts_of(UpstreamConfig(ca_file=str(file), cert_file=str(file)))

    of_cas, of_server = facts.certificates
    assert of_cas.ends == of_server.ends
    assert isinstance(of_cas.ends, datetime)
    assert of_cas.last_ends is not None
    assert of_cas.last_ends - of_cas.ends > timedelta(days=9)
    assert of_server.last_ends is None
