"""DesiredLRPs, their updates, and task definitions (spec: validation.md §5)."""

from bbs.models import pb
from bbs.models.validation import parts
from bbs.models.validation.actions import action, cached_dependencies, sidecars
from bbs.models.validation.egress import egress_rules, security_group_rule
from bbs.models.validation.fields import (
    NO_ACTION,
    are_files_too_large,
    are_routes_too_long,
    invalid,
    is_annotation_too_long,
    is_below_no_limit,
)
from bbs.models.validation.images import image_layers
from bbs.models.validation.rootfs import is_rootfs


def desired_lrp(lrp: pb.DesiredLRP) -> list[str]:
    """What is wrong with an LRP. Domain, files and log rate limit are named twice, once for the LRP and once for its run
    info, since upstream's text has both.
    """
    found = []
    if are_files_too_large(lrp.volume_mounted_files):
        found.append(invalid("volumeMountedFiles"))
    if not lrp.domain:
        found.append(invalid("domain"))
    if not lrp.root_fs:
        found.append(invalid("rootfs"))
    if not is_rootfs(lrp.root_fs):
        found.append(invalid("rootfs"))
    if lrp.instances < 0:
        found.append(invalid("instances"))
    if lrp.memory_mb < 0:
        found.append(invalid("memory_mb"))
    if lrp.disk_mb < 0:
        found.append(invalid("disk_mb"))
    if is_below_no_limit(lrp.log_rate_limit):
        found.append(invalid("log_rate_limit_bytes_per_second"))
    if is_annotation_too_long(lrp.annotation):
        found.append(invalid("annotation"))
    if lrp.max_pids < 0:
        found.append(invalid("max_pids"))
    if are_routes_too_long(lrp.routes):
        found.append(invalid("routes"))
    if not lrp.metric_tags:
        found.append(invalid("metric_tags"))
    if broken := parts.metric_tags(lrp.metric_tags, metrics_guid=lrp.metrics_guid):
        found += [invalid("metric_tags"), *broken]
    return found + _run_info(lrp)


def _run_info(lrp: pb.DesiredLRP) -> list[str]:
    found = parts.desired_lrp_key(lrp)
    if are_files_too_large(lrp.volume_mounted_files):
        found.append(invalid("volumeMountedFiles"))
    if lrp.HasField("setup") and (broken := action(lrp.setup)):
        found += [invalid("setup"), *broken]
    found += _main_action(lrp)
    if lrp.HasField("monitor") and (broken := action(lrp.monitor)):
        found += [invalid("monitor"), *broken]
    for variable in lrp.environment_variables:
        found += parts.environment_variable(variable)
    found += egress_rules(lrp.egress_rules)
    found += cached_dependencies(lrp.cached_dependencies)
    found += image_layers(lrp.image_layers, legacy_download_user=lrp.legacy_download_user)
    found += sidecars(lrp.sidecars)
    for mount in lrp.volume_mounts:
        found += parts.volume_mount(mount)
    found += _image_credentials(lrp)
    if broken := parts.check_definition(lrp.check_definition):
        found += [invalid("check_definition"), *broken]
    if is_below_no_limit(lrp.log_rate_limit):
        found.append(invalid("log_rate_limit"))
    return found


def desired_lrp_update(update: pb.DesiredLRPUpdate) -> list[str]:
    """What is wrong with an update. Only what is set is looked at; credentials that are set to '' count as set."""
    found = []
    if update.instances < 0:
        found.append(invalid("instances"))
    if is_annotation_too_long(update.annotation):
        found.append(invalid("annotation"))
    if are_routes_too_long(update.routes):
        found.append(invalid("routes"))
    if broken := parts.metric_tags(update.metric_tags, metrics_guid=""):
        found += [invalid("metric_tags"), *broken]
    has_username, has_password = update.HasField("image_username"), update.HasField("image_password")
    if has_username and not has_password:
        found.append(invalid("image_password"))
    if has_password and not has_username:
        found.append(invalid("image_username"))
    return found


def task_definition(definition: pb.TaskDefinition) -> list[str]:
    """What is wrong with a task. A broken egress rule is only named, where an LRP's text says what is wrong with it."""
    found = []
    if not is_rootfs(definition.root_fs):
        found.append(invalid("rootfs"))
    found += _main_action(definition)
    if definition.memory_mb < 0:
        found.append(invalid("memory_mb"))
    if definition.disk_mb < 0:
        found.append(invalid("disk_mb"))
    if is_below_no_limit(definition.log_rate_limit):
        found.append(invalid("log_rate_limit"))
    if definition.max_pids < 0:
        found.append(invalid("max_pids"))
    if is_annotation_too_long(definition.annotation):
        found.append(invalid("annotation"))
    found += [invalid("egress_rules") for rule in definition.egress_rules if security_group_rule(rule)]
    found += _image_credentials(definition)
    found += cached_dependencies(definition.cached_dependencies)
    found += image_layers(definition.image_layers, legacy_download_user=definition.legacy_download_user)
    return found


def _main_action(holder: pb.DesiredLRP | pb.TaskDefinition) -> list[str]:
    if not holder.HasField("action"):
        return [NO_ACTION]
    broken = action(holder.action)
    return [invalid("action"), *broken] if broken else []


def _image_credentials(holder: pb.DesiredLRP | pb.TaskDefinition) -> list[str]:
    if holder.image_password and not holder.image_username:
        return [invalid("image_username")]
    if holder.image_username and not holder.image_password:
        return [invalid("image_password")]
    return []
