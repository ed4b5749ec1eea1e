"""The BOSH job of ``packaging/bosh``, read, and rendered into a directory as on an instance."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.daemons import CERT_NAMES
from tests.made_once import copied_certs

RELEASE = Path(__file__).parent.parent.parent / "packaging/bosh"
JOB = RELEASE / "jobs/bbs"
RENDER = Path(__file__).parent / "render_job.rb"
INSTALLED = "/var/vcap/jobs/bbs/config"

needs_ruby = pytest.mark.skipif(shutil.which("ruby") is None, reason="no ruby to render the job's templates")


def spec() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((JOB / "spec").read_text())
    return read


def declared() -> dict[str, dict[str, Any]]:
    """The job's properties by their dotted names."""
    properties: dict[str, dict[str, Any]] = spec()["properties"]
    return properties


def placed() -> dict[str, str]:
    """Where each template goes, below the job's directory."""
    places: dict[str, str] = spec()["templates"]
    return places


def templates() -> dict[str, str]:
    return {path.name: path.read_text() for path in (JOB / "templates").iterdir()}


def render(properties: dict[str, Any], *names: str) -> "subprocess.CompletedProcess[str]":
    """Standard output is a JSON object with the text of each template, by its path."""
    return subprocess.run(
        [
            "ruby",
            RENDER,
            JOB / "spec",
            json.dumps(properties),
            *(JOB / "templates" / f"{name}.erb" for name in names),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def rendered(properties: dict[str, Any], *names: str) -> list[str]:
    """The text of each of these templates."""
    done = render(properties, *names)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout).values())


def configuration(properties: dict[str, Any]) -> dict[str, Any]:
    (text,) = rendered(properties, "bbs.json")
    config: dict[str, Any] = json.loads(text)
    return config


def deploy(folder: Path, properties: dict[str, Any]) -> Path:
    """Render everything into ``folder``, as on an instance; the configuration's paths lead there. Returns the configuration."""
    names = [name.removesuffix(".erb") for name in placed()]
    for place, text in zip(placed().values(), rendered(properties, *names), strict=True):
        file = folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        text = text.replace(INSTALLED, str(folder / "config"))
        file.write_text(text.replace("/var/vcap/sys/log/bbs", str(folder)))
    return folder / "config/bbs.json"


def certificates(folder: Path) -> dict[str, str]:
    """PEM texts by `CERT_NAMES`, from files that are copied to ``folder``."""
    paths = copied_certs(folder).paths()
    return {name: path.read_text() for name, path in zip(CERT_NAMES, paths, strict=True)}


def full_manifest(pem: dict[str, str]) -> dict[str, Any]:
    """Properties by dotted names, as the manifests of Cloud Foundry give them, on Postgres with TLS everywhere."""
    properties: dict[str, Any] = {
        "diego.bbs.active_key_label": "key-0",
        "diego.bbs.encryption_keys": [{"label": "key-0", "passphrase": "hush"}],
        "diego.bbs.ca_cert": pem["ca"],
        "diego.bbs.server_cert": pem["server"],
        "diego.bbs.server_key": pem["server_key"],
        "diego.bbs.auctioneer.require_tls": True,
        "loggregator.ca_cert": pem["ca"],
        "loggregator.cert": pem["client"],
        "loggregator.key": pem["client_key"],
        "diego.bbs.sql.db_driver": "postgres",
        "diego.bbs.sql.db_host": "sql-db.service.cf.internal",
        "diego.bbs.sql.db_port": 5524,
        "diego.bbs.sql.db_schema": "diego",
        "diego.bbs.sql.db_username": "diego",
        "diego.bbs.sql.db_password": "hush",
        "diego.bbs.sql.require_ssl": True,
        "diego.bbs.sql.ca_cert": pem["ca"],
        "diego.bbs.gogc": "off",
        "diego.bbs.gomemlimit": "8GiB",
    }
    for peer in ("auctioneer", "rep"):
        for name, file in (("ca_cert", "ca"), ("client_cert", "client"), ("client_key", "client_key")):
            properties[f"diego.bbs.{peer}.{name}"] = pem[file]
    return properties
