"""The release around the job: an ops-file that puts it into a deployment, and the package that it needs."""

import copy
import re
import subprocess
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


def test_whoever_forgets_the_python_is_told_how_to_call_it() -> None:
    done = subprocess.run(
        ["bash", RELEASE / "collect"], capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 1
    assert "usage: packaging/bosh/collect PYTHON.tar.gz" in done.stderr
