"""What is committed of ``bbs/models/pb`` is what its .proto files say."""

import subprocess
import sys
from pathlib import Path

import pytest

from bbs.models import pb
from bbs.models.pb import evacuation_pb2, locket_pb2, volume_mount_pb2

REPOSITORY = Path(__file__).parent.parent.parent
COMMITTED = REPOSITORY / "bbs/models/pb"


@pytest.mark.slow
def test_generating_again_changes_nothing(tmp_path: Path) -> None:
    command = [sys.executable, "tools/generate_protos.py", "--into", str(tmp_path)]
    subprocess.run(command, cwd=REPOSITORY, check=True, timeout=120)

    fresh = {path.name: path.read_bytes() for path in (tmp_path / "bbs/models/pb").iterdir()}
    committed = {
        path.name: path.read_bytes() for path in COMMITTED.iterdir() if path.suffix in (".py", ".pyi")
    }
    assert fresh == committed


def test_locket_is_served_under_its_upstream_name() -> None:
    service = locket_pb2.DESCRIPTOR.services_by_name["Locket"]

    assert service.full_name == "models.Locket"
    assert [method.name for method in service.methods] == ["Lock", "Fetch", "Release", "FetchAll"]


@pytest.mark.parametrize(
    ("proto", "reserved"),
    [
        ("error.proto", "reserved 1, 2, 10, 20, 22, 23, 25;"),
        ("volume_mount.proto", "reserved 2, 4, 5;"),
        ("evacuation.proto", "reserved 4;"),
    ],
)
def test_retired_numbers_stay_reserved(proto: str, reserved: str) -> None:
    assert reserved in (COMMITTED / proto).read_text()


def test_retired_numbers_are_not_in_use() -> None:
    assert not {1, 2, 10, 20, 22, 23, 25} & set(pb.Error.Type.values())
    assert not {2, 4, 5} & set(volume_mount_pb2.VolumeMount.DESCRIPTOR.fields_by_number)
    assert 4 not in evacuation_pb2.EvacuateRunningActualLRPRequest.DESCRIPTOR.fields_by_number
