"""An instance of the BOSH job as it runs: a server with the configuration that the templates give, and the scripts beside it."""

import json
import subprocess
from pathlib import Path

import pytest
import trio

from bbs.embedded_postgres.postmaster import SUPERUSER
from bbs.store.mysql.literals import literal
from tests.daemons import CERT_NAMES, Surroundings, daemon, free_port
from tests.databases import ON_BOTH, SomeDatabase
from tests.packaging.bosh_job import deploy, full_manifest, needs_ruby
from tests.store.tcp_proxy import tcp_proxy

PASSWORD = "p@s:s/w#o?r%41&=+ '`$(x)"


def user_of(database: SomeDatabase) -> str:
    """A user who has that password, if he is asked for one: tests' Postgres trusts everybody."""
    if database.on_postgres:
        return SUPERUSER
    database.administer(f"ALTER USER {database.name}@localhost IDENTIFIED BY {literal(PASSWORD)}")
    return database.name


@pytest.mark.slow
@needs_ruby
@ON_BOTH
async def test_it_starts_is_found_by_post_start_and_answers(tmp_path: Path, around: Surroundings) -> None:
    pem = {name: path.read_text() for name, path in zip(CERT_NAMES, around.certs.paths(), strict=True)}
    async with tcp_proxy(around.database.socket) as database_port:
        its_own = {
            "diego.bbs.listen_addr": f"127.0.0.1:{free_port()}",
            "diego.bbs.health_addr": f"127.0.0.1:{free_port()}",
            "diego.bbs.debug_addr": f"127.0.0.1:{free_port()}",
            "diego.bbs.locket.api_location": around.locket_address,
            "diego.bbs.sql.db_driver": around.database.driver,
            "diego.bbs.sql.db_host": "127.0.0.1",
            "diego.bbs.sql.db_port": database_port,
            "diego.bbs.sql.db_schema": around.database.name,
            "diego.bbs.sql.db_username": user_of(around.database),
            "diego.bbs.sql.db_password": PASSWORD,
            "diego.bbs.sql.require_ssl": False,  # tests' databases have none
        }
        file = deploy(tmp_path / "instance", {**full_manifest(pem), **its_own})

        async with daemon(around, json.loads(file.read_text())) as bbs:
            await trio.run_process(["bash", tmp_path / "instance/bin/post-start"], stdin=subprocess.DEVNULL)
            await bbs.logs("started")
            assert (await bbs.probe("/ready"))[0] == 200
            async with bbs.client() as client:
                assert await client.ping()
            assert await bbs.stop() == 0
