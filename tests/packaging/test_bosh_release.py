"""The release around the job: an ops-file that puts it into a deployment, and the package that it needs."""

import copy
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from bbs.commands.cli import main
from bbs.config.upstream import decode
from tests.packaging.bosh_job import RELEASE, certificates, declared, deploy, needs_ruby, spec
from tests.packaging.operations import OperationFailed, applied, value_at

MANIFEST = Path(__file__).parent / "cf_manifest.yml"
OPERATIONS = RELEASE / "operations/use-bbs-python.yml"
PACKAGE = RELEASE / "packages/bbs-python"


@pytest.fixture
def manifest() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(MANIFEST.read_text())
    return read


@pytest.fixture
def operations() -> list[dict[str, Any]]:
    read: list[dict[str, Any]] = yaml.safe_load(OPERATIONS.read_text())
    return read


def release_name() -> str:
    name: str = yaml.safe_load((RELEASE / "config/final.yml").read_text())["name"]
    return name


def test_the_ops_file_changes_the_release_of_one_job_and_nothing_of_the_others(
    manifest: dict[str, Any], operations: list[dict[str, Any]]
) -> None:
    before = copy.deepcopy(manifest)

    after = applied(manifest, operations)

    assert value_at(after, "/instance_groups/name=diego-api/jobs/name=bbs/release") == release_name()
    assert value_at(after, f"/releases/name={release_name()}/version") == "latest"
    assert value_at(after, "/instance_groups/name=diego-api/update") == {"serial": True, "max_in_flight": 1}
    back = [
        {
            "type": "replace",
            "path": "/instance_groups/name=diego-api/jobs/name=bbs/release",
            "value": "diego",
        },
        {"type": "remove", "path": f"/releases/name={release_name()}"},
        {"type": "remove", "path": "/instance_groups/name=diego-api/update/max_in_flight"},
    ]
    assert applied(after, back) == before


def test_it_may_be_applied_twice_and_where_there_is_no_update_block(
    manifest: dict[str, Any], operations: list[dict[str, Any]]
) -> None:
    once = applied(copy.deepcopy(manifest), operations)

    assert applied(copy.deepcopy(once), operations) == once
    del value_at(manifest, "/instance_groups/name=diego-api")["update"]
    assert applied(manifest, operations) == once


@pytest.mark.parametrize(
    "missing", ["/instance_groups/name=diego-api", "/instance_groups/name=diego-api/jobs/name=bbs"]
)
def test_a_deployment_without_the_job_is_refused(
    manifest: dict[str, Any], operations: list[dict[str, Any]], missing: str
) -> None:
    applied(manifest, [{"type": "remove", "path": missing}])

    with pytest.raises(OperationFailed):
        applied(manifest, operations)


@needs_ruby
def test_what_is_deployed_then_starts_with_the_manifests_properties(
    tmp_path: Path,
    manifest: dict[str, Any],
    operations: list[dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The director drops properties that the job does not declare, of older releases for example."""
    job = value_at(applied(manifest, operations), "/instance_groups/name=diego-api/jobs/name=bbs")
    variables = variables_with(certificates(tmp_path / "certs"))
    given = {name: at_dots(job["properties"], name) for name in declared()}
    properties = {name: filled_in(value, variables) for name, value in given.items() if value is not None}

    file = deploy(tmp_path / "instance", properties)

    assert main(["check-config", str(file)]) == 0, capsys.readouterr().out
    config = decode(file.read_bytes()).config
    assert config.database_connection_string == "diego:hush@tcp(sql-db.service.cf.internal:3306)/diego"
    assert config.encryption_keys == {"key-2016-06": "hush"}
    assert config.auctioneer_address == "https://auctioneer.service.cf.internal:9016"


def variables_with(pem: dict[str, str]) -> dict[str, str]:
    return {
        "certificate": pem["ca"],
        "diego_bbs_server.certificate": pem["server"],
        "diego_bbs_server.private_key": pem["server_key"],
        **{
            f"{client}.{kind}": pem[name]
            for client in ("diego_auctioneer_client", "diego_rep_client", "loggregator_tls_agent")
            for kind, name in (("certificate", "client"), ("private_key", "client_key"))
        },
    }


def at_dots(properties: Any, name: str) -> Any:
    """What the director finds there: properties are nested, and their names are paths."""
    for part in name.split("."):
        if not isinstance(properties, dict) or part not in properties:
            return None
        properties = properties[part]
    return properties


def filled_in(value: Any, variables: dict[str, str]) -> Any:
    """With the variables' values: certificates that were made, and one secret for all passwords."""
    match value:
        case dict():
            return {key: filled_in(each, variables) for key, each in value.items()}
        case list():
            return [filled_in(each, variables) for each in value]
        case str() if found := re.fullmatch(r"\(\(([\w.]+)\)\)", value):
            name = found[1]
            return variables.get(name) or (variables["certificate"] if "_ca." in name else "hush")
    return value


def test_the_package_has_what_its_script_and_the_job_name() -> None:
    package = yaml.safe_load((PACKAGE / "spec").read_text())
    script = (PACKAGE / "packaging").read_text()
    collected = (RELEASE / "collect").read_text()

    assert spec()["packages"] == [package["name"]] == [PACKAGE.name]
    assert f"packages/{PACKAGE.name}/bin/bbs" in (RELEASE / "jobs/bbs/templates/bpm.yml.erb").read_text()
    for file in (
        "bbs-python/cpython.tar.gz",
        "bbs-python/requirements.txt",
        "bbs-python/bbs-1.0-py3-none-any.whl",
    ):
        assert [pattern for pattern in package["files"] if fnmatch(file, pattern)], file
    assert {"bbs-python/cpython.tar.gz", "bbs-python/requirements.txt", "bbs-python/bbs-*.whl"} <= set(
        script.split()
    )
    assert {'"$source/cpython.tar.gz"', '"$source/requirements.txt"'} <= set(collected.split())
    assert "source=$repository/packaging/bosh/src/bbs-python\n" in collected
    assert yaml.safe_load((RELEASE / "config/blobs.yml").read_text()) == {}


@pytest.mark.parametrize("script", [PACKAGE / "packaging", RELEASE / "collect"], ids=lambda path: path.name)
def test_scripts_are_bash(script: Path) -> None:
    subprocess.run(["bash", "-n", script], check=True)


def collect(checkout: Path, archive: str, *, wheels: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """Run it in a checkout of its own, with these wheels in ``dist``."""
    for folder in ("packaging/bosh", "locks", "dist"):
        (checkout / folder).mkdir(parents=True)
    shutil.copy(RELEASE / "collect", checkout / "packaging/bosh")
    (checkout / "locks/mysql.txt").write_text("trio==0.31.0 --hash=sha256:0\n")
    for wheel in wheels:
        (checkout / "dist" / wheel).write_text("ours")
    return subprocess.run(
        ["bash", checkout / "packaging/bosh/collect", *([archive] if archive else [])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def python_archive(folder: Path) -> Path:
    """A Python that only tells what it is asked, in the file ``asked`` beside the archive."""
    python = folder / "python/bin/python3"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "$@" >> "{folder}/asked"\n')
    python.chmod(0o755)
    archive = folder / "python.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder / "python", "python")
    return archive


def test_the_package_is_collected_with_hashes(tmp_path: Path) -> None:
    wheel = "bbs-1.0-py3-none-any.whl"
    archive = python_archive(tmp_path)
    checkout = tmp_path / "checkout"

    done = collect(checkout, str(archive), wheels=[wheel])

    assert done.returncode == 0, done.stderr
    source = checkout / "packaging/bosh/src/bbs-python"
    assert sorted(path.name for path in source.iterdir()) == [wheel, "cpython.tar.gz", "requirements.txt"]
    assert (source / "cpython.tar.gz").read_bytes() == archive.read_bytes()
    tries, download = (tmp_path / "asked").read_text().splitlines()
    assert tries.startswith("-m pip install --quiet --dry-run --no-index --no-deps ")
    assert download.startswith("-m pip download --require-hashes --only-binary :all: ")
    assert f"-r {source}/requirements.txt" in download


@pytest.mark.parametrize(
    ("archive", "wheels", "complaint"),
    [
        ("", ["bbs-1.0-py3-none-any.whl"], "usage: packaging/bosh/collect PYTHON.tar.gz"),
        ("python.tar.gz", [], "dist/ has to have one wheel of ours: run 'make wheel'"),
        (
            "python.tar.gz",
            ["bbs-0.9-py3-none-any.whl", "bbs-1.0-py3-none-any.whl"],
            "take away what is older",
        ),
    ],
)
def test_what_is_missing_is_told_before_anything_is_collected(
    tmp_path: Path, archive: str, wheels: list[str], complaint: str
) -> None:
    done = collect(tmp_path, archive, wheels=wheels)

    assert done.returncode == 1
    assert complaint in done.stderr
    assert not (tmp_path / "packaging/bosh/src").exists()
