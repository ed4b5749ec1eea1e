"""How differences are shown: which fields, and never a secret."""

import pytest
from google.protobuf.descriptor_pool import Default
from google.protobuf.message import Message

from bbs.models import pb
from bbs.shadow.fields import FIELDS_MAX, SHOWN, TEXT_MAX, FieldDifference, Shower
from tests.canaries import Canary, found

SECRET = Canary.named("secret")
TEXT = SECRET.text


def action(text: str = TEXT) -> pb.Action:
    run = pb.RunAction(
        path=text, args=[text], dir=text, user=text, env=[pb.EnvironmentVariable(name=text, value=text)]
    )
    run.volume_mounted_files.add(path=text, content=text)
    return pb.Action(
        serial_action=pb.SerialAction(
            actions=[
                pb.Action(run_action=run),
                pb.Action(download_action=pb.DownloadAction(**{"from": text, "checksum_value": text})),
                pb.Action(upload_action=pb.UploadAction(to=text)),
                pb.Action(
                    emit_progress_action=pb.EmitProgressAction(
                        start_message=text, action=pb.Action(run_action=run)
                    )
                ),
            ]
        )
    )


def desired() -> pb.DesiredLRP:
    lrp = pb.DesiredLRP(
        process_guid="p",
        root_fs=TEXT,
        environment_variables=[pb.EnvironmentVariable(name="PASSWORD", value=TEXT)],
        setup=action(),
        action=action(),
        monitor=action(),
        annotation=TEXT,
        egress_rules=[pb.SecurityGroupRule(destinations=[TEXT], annotations=[TEXT])],
        cached_dependencies=[pb.CachedDependency(**{"from": TEXT})],
        volume_mounts=[
            pb.VolumeMount(shared=pb.SharedDevice(mount_config=TEXT)),
            pb.VolumeMount(dedicated=pb.DedicatedDevice(mount_config=TEXT, device_config=TEXT)),
        ],
        certificate_properties=pb.CertificateProperties(organizational_unit=[TEXT]),
        image_username=TEXT,
        image_password=TEXT,
        check_definition=pb.CheckDefinition(checks=[pb.Check(http_check=pb.HTTPCheck(path=TEXT))]),
        image_layers=[pb.ImageLayer(url=TEXT, digest_value=TEXT)],
        sidecars=[pb.Sidecar(action=action())],
        volume_mounted_files=[pb.File(path="f", content=TEXT)],
        network=pb.Network(properties={"key": TEXT}),
        PlacementTags=["-----BEGIN RSA PRIVATE KEY-----" + TEXT],
    )
    lrp.routes.routes["diego-ssh"] = TEXT.encode()
    lrp.routes.routes[TEXT] = b"1"
    lrp.metric_tags["tag"].static = TEXT
    return lrp


def task() -> pb.Task:
    return pb.Task(
        task_guid="t",
        task_definition=pb.TaskDefinition(
            action=action(), completion_callback_url=TEXT, annotation=TEXT, image_password=TEXT
        ),
        result=TEXT,
        failure_reason=TEXT,
        rejection_reason=TEXT,
    )


def unknown() -> pb.ActualLRP:
    text = TEXT.encode()
    return pb.ActualLRP.FromString(b"\xfa\x3e" + bytes([len(text)]) + text)


@pytest.mark.parametrize(
    "message", [desired(), task(), unknown(), pb.ActualLRP(metric_tags={"k": TEXT, TEXT: "v"})]
)
def test_no_secret_is_shown(message: Message) -> None:
    shower = Shower()
    for sides in ((message, None), (None, message), (message, type(message)())):
        shown = shower.differing(*sides, fields_max=1_000)

        assert shown
        assert found([SECRET], repr(shown).encode()) == set()


def test_what_differs_is_shown_and_nothing_else() -> None:
    master = pb.ActualLRP(
        actual_lrp_key=pb.ActualLRPKey(process_guid="p", index=1),
        state="RUNNING",
        presence=pb.ActualLRP.SUSPECT,
        actual_lrp_net_info=pb.ActualLRPNetInfo(
            ports=[pb.PortMapping(host_port=1), pb.PortMapping(host_port=2)]
        ),
        modification_tag=pb.ModificationTag(),
    )
    follower = pb.ActualLRP()
    follower.CopyFrom(master)
    follower.actual_lrp_net_info.ports[1].host_port = 3
    follower.state = "CRASHED"
    follower.presence = pb.ActualLRP.ORDINARY
    follower.routable = False
    follower.ClearField("modification_tag")

    assert set(Shower().differing(master, follower)) == {
        FieldDifference("actual_lrp_net_info.ports[1].host_port", "2", "3"),
        FieldDifference("state", '"RUNNING"', '"CRASHED"'),
        FieldDifference("presence", "SUSPECT", None),
        FieldDifference("routable", None, "false"),
        FieldDifference("modification_tag", "(empty)", None),
    }


def test_masked_values_can_be_told_apart_within_one_report() -> None:
    def mark(shower: Shower, text: str) -> str | None:
        return shower.differing(pb.DesiredLRP(annotation=text), None)[0].master

    one = Shower()
    assert mark(one, "a") == mark(one, "a") != mark(one, "b")
    assert mark(one, "a") != mark(Shower(), "a")


def test_what_is_shown_is_bounded() -> None:
    lrp = pb.ActualLRP(state="x" * 10_000, metric_tags={str(number): "" for number in range(1_000)})

    shown = Shower().differing(lrp, None)

    assert len(shown) == FIELDS_MAX
    assert max(len(field.master or "") for field in shown) < TEXT_MAX + 5


def test_every_field_that_is_shown_exists() -> None:
    for name in SHOWN:
        message, _, field = name.rpartition(".")
        assert field in Default().FindMessageTypeByName(message).fields_by_name, name
