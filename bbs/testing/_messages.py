"""Messages that pass validation, whatever a test does not care about filled in."""

from typing import Any

from bbs.models import pb


def desired_message(process_guid: str = "p", **fields: Any) -> pb.DesiredLRP:
    """A DesiredLRP of one instance, which has ``fields`` instead of what is filled in. Its domain is ``d``."""
    message = pb.DesiredLRP(
        process_guid=process_guid,
        domain="d",
        root_fs="preloaded:cflinuxfs4",
        instances=1,
        memory_mb=128,
        disk_mb=512,
        log_guid="log",
        action=pb.Action(run_action=pb.RunAction(path="/bin/app", user="vcap")),
    )
    message.metric_tags["source_id"].static = "app"
    message.MergeFrom(pb.DesiredLRP(**fields))
    return message


def task_definition(**fields: Any) -> pb.TaskDefinition:
    """What a task needs, with ``fields`` instead of what is filled in. Nobody is told of its end, unless they name a
    ``completion_callback_url``.
    """
    definition = pb.TaskDefinition(
        root_fs="preloaded:cflinuxfs4",
        memory_mb=128,
        disk_mb=512,
        action=pb.Action(run_action=pb.RunAction(path="/bin/work", user="vcap")),
    )
    definition.MergeFrom(pb.TaskDefinition(**fields))
    return definition
