"""How large an auction is taken for, beside what is sent of it."""

from hypothesis import given
from hypothesis import strategies as st

from bbs.models import pb
from bbs.models.task import Task, TaskState
from bbs.models.wire import encode
from bbs.peers import bodies
from bbs.peers.interfaces import LRPStart

plain = st.text(st.characters(min_codepoint=32, max_codepoint=126, exclude_characters='<>&"\\'), max_size=300)
many_plain = st.lists(plain, max_size=5)
sizes = st.integers(0, 2**31 - 1)


@given(
    st.builds(
        LRPStart,
        process_guid=plain,
        domain=plain,
        indices=st.lists(st.integers(0, 999_999), max_size=200).map(tuple),
        placement_tags=st.none() | many_plain.map(tuple),
        volume_drivers=st.none() | many_plain.map(tuple),
        rootfs=plain,
        memory_mb=sizes,
        disk_mb=sizes,
        max_pids=sizes,
    )
)
def test_an_lrp_start_is_taken_for_no_smaller_than_it_is_and_not_for_much_larger(start: LRPStart) -> None:
    sent, taken_for = len(bodies.lrp_start(start)), bodies.lrp_start_bytes(start)

    assert sent <= taken_for <= sent + 120 + 5 * len(start.indices)


@given(guid=plain, domain=plain, rootfs=plain, tags=many_plain, drivers=many_plain, mb=sizes)
def test_a_task_start_is_taken_for_no_smaller_than_it_is(
    guid: str, domain: str, rootfs: str, tags: list[str], drivers: list[str], mb: int
) -> None:
    definition = pb.TaskDefinition(
        root_fs=rootfs,
        memory_mb=mb,
        disk_mb=mb,
        max_pids=mb,
        placement_tags=tags,
        volume_mounts=[pb.VolumeMount(driver=driver) for driver in drivers],
    )
    task = Task(
        task_guid=guid,
        domain=domain,
        created_at_ns=1,
        updated_at_ns=1,
        state=TaskState.Pending,
        definition=encode(definition),
    )

    assert len(bodies.task_start(task)) <= bodies.task_start_bytes(task)
