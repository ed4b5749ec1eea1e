"""Messages that pass validation, whatever a test does not care about filled in."""

from typing import Any

from bbs.models import pb


def desired_message(process_guid: str = "p", **fields: Any) -> pb.DesiredLRP:
    """A DesiredLRP of one instance, which has ``fields`` instead of what is filled in. Its domain is ``d``."""
    filled_in: dict[str, Any] = {
        "process_guid": process_guid,
        "domain": "d",
        "root_fs": "preloaded:cflinuxfs4",
        "instances": 1,
        "memory_mb": 128,
        "disk_mb": 512,
        "log_guid": "log",
        "action": pb.Action(run_action=pb.RunAction(path="/bin/app", user="vcap")),
        "metric_tags": {"source_id": pb.MetricTagValue(static="app")},
    }
    return pb.DesiredLRP(**{**filled_in, **fields})


def task_definition(**fields: Any) -> pb.TaskDefinition:
    """What a task needs, with ``fields`` instead of what is filled in. Nobody is told of its end, unless they name a
    ``completion_callback_url``.
    """
    filled_in: dict[str, Any] = {
        "root_fs": "preloaded:cflinuxfs4",
        "memory_mb": 128,
        "disk_mb": 512,
        "action": pb.Action(run_action=pb.RunAction(path="/bin/work", user="vcap")),
    }
    return pb.TaskDefinition(**{**filled_in, **fields})
