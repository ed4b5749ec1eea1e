"""What a run about tasks sends (spec: tasks.md §3)."""

import pytest
from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.validation import validate
from perf.load import Target
from perf.tasks import Tasks

TASKS = Tasks(target=Target(host="bbs.example.com", port=8889, tls=None), tasks=250)


@pytest.mark.parametrize(
    ("operation", "path", "request_class"),
    [
        ("desire", "desire.r2", pb.DesireTaskRequest),
        ("start", "start", pb.StartTaskRequest),
        ("complete", "complete", pb.CompleteTaskRequest),
        ("resolve", "resolving", pb.TaskGuidRequest),
        ("delete", "delete", pb.TaskGuidRequest),
    ],
)
def test_each_operation_is_about_every_task(operation: str, path: str, request_class: type[Message]) -> None:
    guids = []
    for sent in TASKS.operations()[operation]():
        head, _, body = sent.partition(b"\r\n\r\n")
        assert head.startswith(f"POST /v1/tasks/{path} HTTP/1.1\r\n".encode())
        request = request_class.FromString(body)
        validate(request)
        guids.append(request.task_guid)  # type: ignore[attr-defined]  # all of these have one

    assert guids == [TASKS.task_guid(i) for i in range(250)]


def test_a_task_is_completed_where_it_runs() -> None:
    start, complete = (
        request_class.FromString(next(iter(TASKS.operations()[name]())).partition(b"\r\n\r\n")[2])
        for name, request_class in (("start", pb.StartTaskRequest), ("complete", pb.CompleteTaskRequest))
    )

    assert start.cell_id == complete.cell_id == "cell-0"
