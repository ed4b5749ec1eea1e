"""What is said of whole messages, word for word (spec: validation.md §3-§6)."""

from typing import Any

import pytest
from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.errors import InvalidRequest
from bbs.models.validation import RULES, validate, violations

KEY = pb.ActualLRPKey(process_guid="p", domain="d")
BAD_KEY = pb.ActualLRPKey(index=-1)
BAD_KEY_TEXT = "F(process_guid) F(index) F(domain)"
INSTANCE = pb.ActualLRPInstanceKey(instance_guid="i", cell_id="c")
BAD_INSTANCE = pb.ActualLRPInstanceKey()
BAD_INSTANCE_TEXT = "F(cell_id) F(instance_guid)"
NET_INFO = pb.ActualLRPNetInfo(address="1.1.1.1")

RUN = pb.Action(run_action=pb.RunAction(path="p", user="u"))
EMPTY = pb.Action()
BAD_RUN = pb.Action(run_action=pb.RunAction())
BAD_RUN_TEXT = "F(path) F(user)"


def lrp(**changes: Any) -> pb.DesiredLRP:
    fields: dict[str, Any] = {
        "process_guid": "p",
        "domain": "d",
        "root_fs": "preloaded:x",
        "action": RUN,
        "metric_tags": {"source_id": pb.MetricTagValue(static="s")},
    }
    return pb.DesiredLRP(**(fields | changes))


def definition(**changes: Any) -> pb.TaskDefinition:
    return pb.TaskDefinition(**({"root_fs": "preloaded:x", "action": RUN, **changes}))


def words(text: str) -> list[str]:
    """``F(x)`` for "Invalid field: x"; entries are separated by blanks, blanks inside written as ``~``."""
    entries = [entry.replace("~", " ") for entry in text.split()]
    return [f"Invalid field: {entry[2:-1]}" if entry.startswith("F(") else entry for entry in entries]


def check(message: Message, expected: str) -> None:
    assert violations(message) == words(expected)


def test_every_request_has_its_rules() -> None:
    requests = {cls for name, cls in vars(pb).items() if name.endswith("Request")} | {pb.EventsByCellId}

    assert requests <= RULES.keys()


def test_a_refusal_lists_everything_in_order() -> None:
    with pytest.raises(
        InvalidRequest, match=r"^Invalid field: process_guid, Invalid field: actual_lrp_instance_key$"
    ):
        validate(pb.ClaimActualLRPRequest())
    validate(pb.ClaimActualLRPRequest(process_guid="p", actual_lrp_instance_key=INSTANCE))


RUNNING: dict[str, Any] = {
    "actual_lrp_key": KEY,
    "actual_lrp_instance_key": INSTANCE,
    "actual_lrp_net_info": NET_INFO,
}
BAD_RUNNING: dict[str, Any] = {
    "actual_lrp_key": BAD_KEY,
    "actual_lrp_instance_key": BAD_INSTANCE,
    "actual_lrp_net_info": pb.ActualLRPNetInfo(),
}
KEYS: dict[str, Any] = {"actual_lrp_key": KEY, "actual_lrp_instance_key": INSTANCE}
BAD_KEYS: dict[str, Any] = {"actual_lrp_key": BAD_KEY, "actual_lrp_instance_key": BAD_INSTANCE}
NO_KEYS_TEXT = "F(actual_lrp_key) F(actual_lrp_instance_key)"
BAD_KEYS_TEXT = f"{BAD_KEY_TEXT} {BAD_INSTANCE_TEXT}"

REQUESTS: list[tuple[Message, str]] = [
    (pb.UpsertDomainRequest(), "F(domain)"),
    (pb.UpsertDomainRequest(domain="d"), ""),
    (pb.ActualLRPsRequest(), ""),
    (pb.ActualLRPGroupsRequest(), ""),
    (pb.DesiredLRPsRequest(), ""),
    (pb.TasksRequest(), ""),
    (pb.EventsByCellId(), ""),
    (pb.ActualLRPsByProcessGuidsRequest(), "process_guids~must~not~be~empty"),
    (pb.ActualLRPsByProcessGuidsRequest(process_guids=[""]), ""),
    (pb.ActualLRPGroupsByProcessGuidRequest(), "F(process_guid)"),
    (pb.ActualLRPGroupByProcessGuidAndIndexRequest(index=-1), "F(process_guid) F(index)"),
    (pb.ClaimActualLRPRequest(), "F(process_guid) F(actual_lrp_instance_key)"),
    (pb.ClaimActualLRPRequest(process_guid="p", index=-1, actual_lrp_instance_key=INSTANCE), ""),
    (pb.ClaimActualLRPRequest(process_guid="p", actual_lrp_instance_key=BAD_INSTANCE), BAD_INSTANCE_TEXT),
    *(
        pair
        for running in (pb.StartActualLRPRequest, pb.EvacuateRunningActualLRPRequest)
        for pair in [
            (running(), f"{NO_KEYS_TEXT} F(actual_lrp_net_info)"),
            (running(**BAD_RUNNING), f"{BAD_KEYS_TEXT} F(address)"),
            (running(**RUNNING), ""),
        ]
    ),
    *(
        pair
        for of_instance in (
            pb.CrashActualLRPRequest,
            pb.RemoveEvacuatingActualLRPRequest,
            pb.EvacuateClaimedActualLRPRequest,
            pb.EvacuateStoppedActualLRPRequest,
        )
        for pair in [
            (of_instance(), NO_KEYS_TEXT),
            (of_instance(**BAD_KEYS), BAD_KEYS_TEXT),
            (of_instance(**KEYS), ""),
        ]
    ),
    (pb.EvacuateCrashedActualLRPRequest(**BAD_KEYS), f"{BAD_KEYS_TEXT} F(error_message)"),
    (pb.EvacuateCrashedActualLRPRequest(**KEYS, error_message="e"), ""),
    (pb.FailActualLRPRequest(), "F(actual_lrp_key) F(error_message)"),
    (pb.FailActualLRPRequest(actual_lrp_key=KEY, error_message="e"), ""),
    (pb.RetireActualLRPRequest(), "F(actual_lrp_key)"),
    (pb.RetireActualLRPRequest(actual_lrp_key=BAD_KEY), BAD_KEY_TEXT),
    (pb.RemoveActualLRPRequest(index=-1), "F(process_guid) F(index)"),
    (pb.RemoveActualLRPRequest(process_guid="p"), ""),
    (pb.DesiredLRPByProcessGuidRequest(), "F(process_guid)"),
    (pb.DesiredLRPByProcessGuidRequest(process_guid="not a guid"), ""),
    (pb.RemoveDesiredLRPRequest(), "F(process_guid)"),
    (pb.DesireLRPRequest(), "F(desired_lrp)"),
    (pb.DesireLRPRequest(desired_lrp=lrp()), ""),
    (pb.UpdateDesiredLRPRequest(), "F(process_guid)"),
    (pb.UpdateDesiredLRPRequest(process_guid="p"), "F(update)"),
    (pb.UpdateDesiredLRPRequest(process_guid="p", update=pb.DesiredLRPUpdate()), ""),
    (pb.UpdateDesiredLRPRequest(update=pb.DesiredLRPUpdate(instances=-1)), "F(process_guid) F(instances)"),
    (pb.DesireTaskRequest(), "F(task_guid) F(domain) F(task_definition)"),
    (pb.DesireTaskRequest(task_guid="t", domain="d", task_definition=definition()), ""),
    (pb.DesireTaskRequest(task_guid="a\n", domain="d", task_definition=pb.TaskDefinition()),
     "F(task_guid) F(rootfs) invalid~action~type"),
    (pb.StartTaskRequest(task_guid="a b"), "F(task_guid) F(cell_id)"),
    (pb.CompleteTaskRequest(), "F(task_guid) F(cell_id)"),
    (pb.CompleteTaskRequest(task_guid="t", cell_id="c"), ""),
    (pb.FailTaskRequest(), "F(task_guid) F(failure_reason)"),
    (pb.FailTaskRequest(task_guid="t", failure_reason="r"), ""),
    (pb.RejectTaskRequest(), "F(task_guid) F(failure_reason)"),
    (pb.RejectTaskRequest(task_guid="t", rejection_reason="r"), ""),
    (pb.TaskByGuidRequest(), "F(task_guid)"),
    (pb.TaskByGuidRequest(task_guid="not a guid"), ""),
    (pb.TaskGuidRequest(), "F(task_guid)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("request_message", "expected"),
    REQUESTS,
    ids=[f"{type(message).__name__}-{text}" for message, text in REQUESTS],
)
def test_requests(request_message: Message, expected: str) -> None:
    check(request_message, expected)


def test_an_empty_lrp() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        validate(pb.DesireLRPRequest(desired_lrp=pb.DesiredLRP()))

    assert str(refusal.value) == (
        "Invalid field: domain, Invalid field: rootfs, Invalid field: rootfs, Invalid field: metric_tags, "
        "Invalid field: domain, Invalid field: process_guid, invalid action type"
    )


LAYER = pb.ImageLayer(
    url="u",
    destination_path="d",
    layer_type=pb.ImageLayer.Type.SHARED,
    media_type=pb.ImageLayer.MediaType.TGZ,
)
EXCLUSIVE = pb.ImageLayer(
    url="u",
    destination_path="d",
    layer_type=pb.ImageLayer.Type.EXCLUSIVE,
    media_type=pb.ImageLayer.MediaType.ZIP,
    digest_algorithm=pb.ImageLayer.DigestAlgorithm.SHA512,
    digest_value="v",
)
TCP = pb.Check(tcp_check=pb.TCPCheck(port=65535))
MEBIBYTE = "x" * 1_048_576
FILE = pb.File(path="p", content=MEBIBYTE)
EGRESS = pb.SecurityGroupRule(protocol="all", destinations=["x"])
EGRESS_TEXT = "F(destinations~[~invalid~IP~])"


def tags(**values: pb.MetricTagValue) -> dict[str, pb.MetricTagValue]:
    return values


def tag(*, static: str = "", dynamic: int = 0) -> pb.MetricTagValue:
    value = pb.MetricTagValue(static=static)
    value.MergeFromString(bytes((0x10, dynamic)))
    return value


LRPS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"volume_mounted_files": [FILE]}, ""),
    ({"volume_mounted_files": [FILE, pb.File(content="x")]}, "F(volumeMountedFiles) F(volumeMountedFiles)"),
    ({"domain": ""}, "F(domain) F(domain)"),
    ({"root_fs": ""}, "F(rootfs) F(rootfs)"),
    ({"root_fs": "x"}, "F(rootfs)"),
    ({"process_guid": "a\n"}, "F(process_guid)"),
    ({"instances": -1, "memory_mb": -1, "disk_mb": -1, "max_pids": -1, "annotation": "x" * 10_241},
     "F(instances) F(memory_mb) F(disk_mb) F(annotation) F(max_pids)"),
    ({"log_rate_limit": pb.LogRateLimit(bytes_per_second=-1)}, ""),
    ({"log_rate_limit": pb.LogRateLimit(bytes_per_second=-2)}, "F(log_rate_limit_bytes_per_second) F(log_rate_limit)"),
    ({"routes": pb.ProtoRoutes(routes={"r": b"x" * 131_072})}, ""),
    ({"routes": pb.ProtoRoutes(routes={"r": b"x" * 131_073})}, "F(routes)"),
    ({"metric_tags": {}}, "F(metric_tags)"),
    ({"metric_tags": {}, "metrics_guid": "m"}, "F(metric_tags)"),
    ({"metric_tags": tags(a=tag())}, "F(metric_tags) F(static) F(dynamic)"),
    ({"metric_tags": tags(a=tag(static="s", dynamic=1))}, "F(metric_tags) F(static) F(dynamic)"),
    ({"metric_tags": tags(a=tag(dynamic=7))}, "F(metric_tags) F(static) F(dynamic)"),
    ({"metric_tags": tags(a=tag(static="s", dynamic=7), b=tag(dynamic=1), c=tag(dynamic=2))}, ""),
    ({"metrics_guid": "s"}, ""),
    ({"metrics_guid": "m"}, "F(metric_tags) F(source_id~should~match~metrics_guid)"),
    ({"metrics_guid": "m", "metric_tags": tags(a=tag())},
     "F(metric_tags) F(static) F(dynamic) F(source_id~should~match~metrics_guid)"),
    ({"setup": EMPTY}, "F(setup) F(inner-action)"),
    ({"action": None}, "invalid~action~type"),
    ({"action": EMPTY}, "F(action) F(inner-action)"),
    ({"monitor": BAD_RUN}, f"F(monitor) {BAD_RUN_TEXT}"),
    ({"environment_variables": [pb.EnvironmentVariable()] * 2}, " ".join(["invalid~field:~name~cannot~be~blank"] * 2)),
    ({"egress_rules": [EGRESS, EGRESS]}, f"F(egress_rules) {EGRESS_TEXT} F(egress_rules) {EGRESS_TEXT}"),
    ({"cached_dependencies": [pb.CachedDependency(checksum_value="v")]},
     "F(cached_dependency) F(from) F(to) F(checksum~algorithm)"),
    ({"image_layers": [LAYER]}, ""),
    ({"image_layers": [pb.ImageLayer(), LAYER, EXCLUSIVE]},
     "F(image_layer) F(url) F(destination_path) F(layer_type) F(media_type) F(legacy_download_user)"),
    ({"image_layers": [EXCLUSIVE], "legacy_download_user": "u"}, ""),
    ({"sidecars": [pb.Sidecar(action=RUN)]}, ""),
    ({"sidecars": [pb.Sidecar(memory_mb=-1), pb.Sidecar(action=EMPTY, disk_mb=-1)]},
     "F(sidecars) invalid~action~type F(memory_mb) F(action) F(inner-action) F(disk_mb)"),
    ({"volume_mounts": [pb.VolumeMount(driver="d", mode="rw"), pb.VolumeMount(driver="d", mode="r")]}, ""),
    ({"volume_mounts": [pb.VolumeMount(shared=pb.SharedDevice(), dedicated=pb.DedicatedDevice())]},
     "invalid~volume_mount~driver invalid~volume_mount~mode "
     "invalid~volume_mount~volume~id invalid~volume_mount~mounter~id"),
    ({"image_password": "p"}, "F(image_username)"),
    ({"image_username": "u"}, "F(image_password)"),
    ({"image_username": "u", "image_password": "p"}, ""),
    ({"check_definition": pb.CheckDefinition(checks=[TCP], readiness_checks=[TCP])}, ""),
    ({"check_definition": pb.CheckDefinition(
        checks=[pb.Check(), pb.Check(tcp_check=TCP.tcp_check, http_check=pb.HTTPCheck(port=1))],
        readiness_checks=[pb.Check(http_check=pb.HTTPCheck(port=65536))])},
     "F(check_definition) F(port) F(check) F(port)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "expected"), LRPS, ids=[f"{[*changes]}-{text}" for changes, text in LRPS]
)
def test_desired_lrps(changes: dict[str, Any], expected: str) -> None:
    check(lrp(**changes), expected)


def test_the_order_of_what_is_wrong_with_an_lrp() -> None:
    everything = lrp(
        setup=EMPTY,
        action=EMPTY,
        monitor=EMPTY,
        environment_variables=[pb.EnvironmentVariable()],
        egress_rules=[EGRESS],
        cached_dependencies=[pb.CachedDependency()],
        image_layers=[EXCLUSIVE],
        sidecars=[pb.Sidecar()],
        volume_mounts=[pb.VolumeMount(driver="d")],
        image_username="u",
        check_definition=pb.CheckDefinition(checks=[pb.Check()]),
    )

    check(
        everything,
        "F(setup) F(inner-action) F(action) F(inner-action) F(monitor) F(inner-action) "
        f"invalid~field:~name~cannot~be~blank F(egress_rules) {EGRESS_TEXT} F(cached_dependency) F(from) F(to) "
        "F(legacy_download_user) F(sidecars) invalid~action~type invalid~volume_mount~mode F(image_password) "
        "F(check_definition) F(port)",
    )


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        (pb.DesiredLRPUpdate(instances=0, image_username="", image_password=""), ""),
        (pb.DesiredLRPUpdate(image_username=""), "F(image_password)"),
        (pb.DesiredLRPUpdate(image_password=""), "F(image_username)"),
        (pb.DesiredLRPUpdate(instances=-1, annotation="x" * 10_241, metric_tags=tags(a=tag())),
         "F(instances) F(annotation) F(metric_tags) F(static) F(dynamic)"),
    ],
    ids=["zeros", "username", "password", "all"],
)  # fmt: skip
def test_updates(update: pb.DesiredLRPUpdate, expected: str) -> None:
    check(update, expected)


TASKS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"root_fs": ""}, "F(rootfs)"),
    ({"action": EMPTY}, "F(action) F(inner-action)"),
    ({"memory_mb": -1, "disk_mb": -1, "log_rate_limit": pb.LogRateLimit(bytes_per_second=-2), "max_pids": -1,
      "annotation": "x" * 10_241, "egress_rules": [EGRESS, EGRESS], "image_password": "p",
      "cached_dependencies": [pb.CachedDependency()], "image_layers": [EXCLUSIVE]},
     "F(memory_mb) F(disk_mb) F(log_rate_limit) F(max_pids) F(annotation) F(egress_rules) F(egress_rules) "
     "F(image_username) F(cached_dependency) F(from) F(to) F(legacy_download_user)"),
    ({"environment_variables": [pb.EnvironmentVariable()], "volume_mounts": [pb.VolumeMount()],
      "metric_tags": tags(a=tag()), "volume_mounted_files": [FILE, FILE]}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), TASKS, ids=[f"{[*changes]}" for changes, _ in TASKS])
def test_task_definitions(changes: dict[str, Any], expected: str) -> None:
    check(definition(**changes), expected)


def download(**fields: str) -> pb.Action:
    return pb.Action(download_action=pb.DownloadAction(**{"from": "f", "to": "t", "user": "u", **fields}))


ACTIONS: list[tuple[str, pb.Action, str]] = [
    ("download", pb.Action(download_action=pb.DownloadAction()), "F(from) F(to) F(user)"),
    ("no checksum", download(), ""),
    ("checksum", download(checksum_algorithm="ShA256", checksum_value="v"), ""),
    ("unknown checksum", download(checksum_algorithm="sha512", checksum_value="v"), "F(invalid~algorithm)"),
    ("checksum without value", download(checksum_algorithm="x"), "F(checksum~value)"),
    ("checksum without algorithm", download(checksum_value="v"), "F(checksum~algorithm)"),
    ("upload", pb.Action(upload_action=pb.UploadAction()), "F(to) F(from) F(user)"),
    ("run", BAD_RUN, BAD_RUN_TEXT),
    ("timeout", pb.Action(timeout_action=pb.TimeoutAction()), "F(action) F(timeout_ms)"),
    ("timeout of a bad run", pb.Action(timeout_action=pb.TimeoutAction(action=BAD_RUN, timeout_ms=-1)),
     f"{BAD_RUN_TEXT} F(timeout_ms)"),
    ("timeout of nothing", pb.Action(timeout_action=pb.TimeoutAction(action=EMPTY, timeout_ms=1)), "F(inner-action)"),
    ("try", pb.Action(try_action=pb.TryAction()), "F(action)"),
    ("try a bad run", pb.Action(try_action=pb.TryAction(action=BAD_RUN)), BAD_RUN_TEXT),
    ("emit progress", pb.Action(emit_progress_action=pb.EmitProgressAction()), "F(action)"),
    ("emit progress of nothing", pb.Action(emit_progress_action=pb.EmitProgressAction(action=EMPTY)), "F(inner-action)"),
    ("parallel", pb.Action(parallel_action=pb.ParallelAction()), "F(actions)"),
    ("serial", pb.Action(serial_action=pb.SerialAction(actions=[BAD_RUN, EMPTY, RUN])), f"{BAD_RUN_TEXT} F(inner-action)"),
    ("codependent", pb.Action(codependent_action=pb.CodependentAction(actions=[RUN])), ""),
    ("only the first counts", pb.Action(run_action=RUN.run_action, try_action=pb.TryAction()), ""),
]  # fmt: skip


@pytest.mark.parametrize(
    ("action", "expected"), [row[1:] for row in ACTIONS], ids=[row[0] for row in ACTIONS]
)
def test_actions(action: pb.Action, expected: str) -> None:
    check(lrp(action=action), f"F(action) {expected}" if expected else "")


def layer(**fields: Any) -> pb.ImageLayer:
    changed = pb.ImageLayer()
    changed.CopyFrom(LAYER)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


@pytest.mark.parametrize(
    ("image_layer", "expected"),
    [
        (layer(digest_value="v"), "F(digest_algorithm) F(digest_algorithm)"),
        (layer(digest_algorithm=1), "F(digest_value)"),
        (layer(digest_algorithm=7, digest_value="v"), "F(digest_algorithm)"),
        (layer(digest_algorithm=1, digest_value="v"), ""),
        (layer(layer_type=2), "F(digest_algorithm) F(digest_value)"),
        (layer(layer_type=7, media_type=7), "F(layer_type) F(media_type)"),
    ],
    ids=[
        "value only",
        "algorithm only",
        "unknown algorithm",
        "both",
        "exclusive without digest",
        "unknown types",
    ],
)
def test_image_layers(image_layer: pb.ImageLayer, expected: str) -> None:
    check(
        lrp(image_layers=[image_layer], legacy_download_user="u"),
        f"F(image_layer) {expected}" if expected else "",
    )


def actual(state: str, **fields: Any) -> pb.ActualLRP:
    return pb.ActualLRP(**{"actual_lrp_key": KEY, "since": 1, "state": state, **fields})


HELD: dict[str, Any] = {"actual_lrp_instance_key": INSTANCE}
REACHABLE: dict[str, Any] = {"actual_lrp_net_info": NET_INFO}
NOT_WHEN = "{}~cannot~be~set~when~state~is~{}"

STORED: list[tuple[Message, str]] = [
    (pb.ActualLRP(), f"{BAD_KEY_TEXT.replace(' F(index)', '')} F(since) F(state)"),
    (actual("UNCLAIMED", placement_error="full"), ""),
    (actual("UNCLAIMED", presence=1, **HELD, **REACHABLE),
     " ".join(NOT_WHEN.format(what, "unclaimed") for what in ("instance~key", "net~info", "presence"))),
    (actual("CLAIMED", presence=1, placement_error=" \n", **HELD), ""),
    (actual("CLAIMED", placement_error="x", **REACHABLE),
     f"{BAD_INSTANCE_TEXT} {NOT_WHEN.format('net~info', 'claimed')} {NOT_WHEN.format('placement~error', 'claimed')}"),
    (actual("RUNNING", **HELD, **REACHABLE), ""),
    (actual("RUNNING", placement_error="x"),
     f"{BAD_INSTANCE_TEXT} F(address) {NOT_WHEN.format('placement~error', 'running')}"),
    (actual("CRASHED", actual_lrp_net_info=pb.ActualLRPNetInfo(instance_address="x", instance_ipv6_address="y")), ""),
    (actual("CRASHED", placement_error="x", **HELD, **REACHABLE),
     " ".join(NOT_WHEN.format(what, "crashed") for what in ("instance~key", "net~info", "placement~error"))),
    (actual("running"), "F(state)"),
    (pb.Task(), "F(domain) F(task_guid) F(task_definition)"),
    (pb.Task(domain="d", task_guid="t", task_definition=definition(memory_mb=-1)), "F(memory_mb)"),
    (pb.DesiredLRPSchedulingInfo(instances=-1, annotation="x" * 10_241,
                                 desired_lrp_resource=pb.DesiredLRPResource(memory_mb=-1, disk_mb=-1, max_pids=-1),
                                 routes=pb.ProtoRoutes(routes={"r": b"x" * 131_073})),
     "F(domain) F(process_guid) F(rootfs) F(memory_mb) F(disk_mb) F(max_pids) F(routes) F(instances) F(annotation)"),
    (pb.CellPresence(rep_url="ftp://x", annotations={"": "a", "b": ""}),
     "F(cell_id) F(rep_address) F(rep_url) F(memory_mb) F(containers) F(annotations)"),
    (pb.CellPresence(cell_id="c", rep_address="a", rep_url="https://x",
                     capacity=pb.CellCapacity(memory_mb=1, containers=1), annotations={"a": "b"}), ""),
    (pb.CellCapacity(disk_mb=-1), "F(memory_mb) F(disk_mb) F(containers)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("message", "expected"), STORED, ids=[f"{type(message).__name__}-{text}" for message, text in STORED]
)
def test_models_that_no_endpoint_takes(message: Message, expected: str) -> None:
    check(message, expected)
