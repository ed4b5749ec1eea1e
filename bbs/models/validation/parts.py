"""The small messages that requests and aggregates are made of (spec: validation.md §4)."""

from collections.abc import Mapping
from typing import Final

from bbs.models import pb
from bbs.models.validation.fields import invalid, is_guid

PORT_MAX: Final = 65535
VOLUME_MODES: Final = frozenset({"r", "rw"})
DYNAMIC_VALUES: Final = frozenset(
    {pb.MetricTagValue.DynamicValue.INDEX, pb.MetricTagValue.DynamicValue.INSTANCE_GUID}
)


def actual_lrp_key(key: pb.ActualLRPKey) -> list[str]:
    found = []
    if not key.process_guid:
        found.append(invalid("process_guid"))
    if key.index < 0:
        found.append(invalid("index"))
    if not key.domain:
        found.append(invalid("domain"))
    return found


def actual_lrp_instance_key(key: pb.ActualLRPInstanceKey) -> list[str]:
    found = []
    if not key.cell_id:
        found.append(invalid("cell_id"))
    if not key.instance_guid:
        found.append(invalid("instance_guid"))
    return found


def actual_lrp_net_info(net_info: pb.ActualLRPNetInfo) -> list[str]:
    return [] if net_info.address else [invalid("address")]


def desired_lrp_key(key: pb.DesiredLRPKey | pb.DesiredLRP) -> list[str]:
    found = []
    if not key.domain:
        found.append(invalid("domain"))
    if not is_guid(key.process_guid):
        found.append(invalid("process_guid"))
    return found


def environment_variable(variable: pb.EnvironmentVariable) -> list[str]:
    return [] if variable.name else ["invalid field: name cannot be blank"]


def metric_tags(tags: Mapping[str, pb.MetricTagValue], *, metrics_guid: str) -> list[str]:
    """What is wrong with tags, in the order of their names. Upstream goes through a Go map, in an order of chance."""
    found = [entry for name in sorted(tags) for entry in metric_tag_value(tags[name])]
    if tags and metrics_guid and ("source_id" not in tags or tags["source_id"].static != metrics_guid):
        found.append(invalid("source_id should match metrics_guid"))
    return found


def metric_tag_value(value: pb.MetricTagValue) -> list[str]:
    """A value must be either static or a known dynamic one, not both and not neither.

    As upstream, an unknown dynamic number counts as none, so a static text beside it passes.
    """
    if bool(value.static) == (value.dynamic in DYNAMIC_VALUES):
        return [invalid("static"), invalid("dynamic")]
    return []


def volume_mount(mount: pb.VolumeMount) -> list[str]:
    found = []
    if not mount.driver:
        found.append("invalid volume_mount driver")
    if mount.mode not in VOLUME_MODES:
        found.append("invalid volume_mount mode")
    if mount.HasField("shared") and not mount.shared.volume_id:
        found.append("invalid volume_mount volume id")
    if mount.HasField("dedicated") and not mount.dedicated.mounter_id:
        found.append("invalid volume_mount mounter id")
    return found


def check_definition(definition: pb.CheckDefinition) -> list[str]:
    checks = (*definition.checks, *definition.readiness_checks)
    return [entry for one in checks for entry in check(one)]


def check(one: pb.Check) -> list[str]:
    has_tcp, has_http = one.HasField("tcp_check"), one.HasField("http_check")
    if has_tcp and has_http:
        return [invalid("check")]
    # With neither, the HTTP check's port is 0, which is refused: as upstream, an empty check is one with a bad port.
    port = one.tcp_check.port if has_tcp else one.http_check.port
    return [] if 1 <= port <= PORT_MAX else [invalid("port")]
