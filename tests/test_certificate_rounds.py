"""A CA is replaced under a running server, in the three rounds of ``docs/operating.md``: nobody who follows them is ever refused."""

import signal
import ssl
from pathlib import Path

import httpx
import pytest

from bbs.tls.development import DevelopmentCerts
from tests.daemons import Daemon, Surroundings, daemon
from tests.databases import ON_POSTGRES
from tests.made_once import copied_certs
from tests.waiting import wait_until

pytestmark = pytest.mark.slow


@ON_POSTGRES
async def test_a_new_ca_takes_three_rounds_in_which_everybody_goes_on(
    around: Surroundings, tmp_path: Path
) -> None:
    new = copied_certs(tmp_path / "new", of="strangers")
    old = around.certs
    # What the server is configured with, apart from what clients use.
    files = copied_certs(tmp_path / "server")
    mine = {
        "ca_file": str(files.ca_cert),
        "cert_file": str(files.server_cert),
        "key_file": str(files.server_key),
    }
    async with daemon(around, around.config("a", **mine)) as bbs:
        await bbs.logs("started")

        # Both CAs everywhere. Clients do it before or after.
        files.ca_cert.write_bytes(old.ca_cert.read_bytes() + new.ca_cert.read_bytes())
        await reload(bbs)
        assert await is_answered(bbs, shows=old, trusts=[old])
        assert await is_answered(bbs, shows=old, trusts=[old, new])

        # New certificates, of a client first, or of the server.
        assert await is_answered(bbs, shows=new, trusts=[old, new])
        files.server_cert.write_bytes(new.server_cert.read_bytes())
        files.server_key.write_bytes(new.server_key.read_bytes())
        await reload(bbs)
        assert await is_answered(bbs, shows=old, trusts=[old, new])
        assert await is_answered(bbs, shows=new, trusts=[old, new])

        # The new CA alone.
        files.ca_cert.write_bytes(new.ca_cert.read_bytes())
        await reload(bbs)
        assert await is_answered(bbs, shows=new, trusts=[new])
        assert not await is_answered(bbs, shows=old, trusts=[old, new])


async def reload(bbs: Daemon) -> None:
    """SIGHUP, until the server has read its own files again. It has others, which did not change, and reads them too."""

    def reloads() -> int:
        told = [line["data"] for line in bbs.lines if line["message"] == "bbs.certificates.reloaded"]
        return [data["cert-file"] for data in told].count(bbs.config["cert_file"])

    before = reloads()
    bbs.process.send_signal(signal.SIGHUP)
    await wait_until(lambda: reloads() > before, within_s=60, what="certificates.reloaded")


async def is_answered(bbs: Daemon, *, shows: DevelopmentCerts, trusts: list[DevelopmentCerts]) -> bool:
    """Whether a ping is, on a connection of its own."""
    context = ssl.create_default_context(cadata="".join(certs.ca_cert.read_text() for certs in trusts))
    context.load_cert_chain(shows.client_cert, shows.client_key)
    async with httpx.AsyncClient(trust_env=False, verify=context) as http:
        try:
            answer = await http.post(f"https://{bbs.config['listen_address']}/v1/ping", timeout=60)
        except httpx.TransportError:
            return False
    return answer.status_code == 200
