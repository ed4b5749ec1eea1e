"""What older clients are shown (spec: api.md §7)."""

from typing import Any

import pytest

from bbs.models import pb
from bbs.models.modification_tag import is_succeeded_by
from bbs.models.versions import Version, desired_lrp_at, task_at, with_metrics_guid

V0, V1, V2, V3 = Version
OLDER = [V0, V1, V2]

RUN = pb.Action(run_action=pb.RunAction(path="p"))
SETUP = pb.Action(run_action=pb.RunAction(path="setup"))


def layer(name: str, kind: int, algorithm: int = 1, digest: str = "v") -> pb.ImageLayer:
    fields: Any = {"layer_type": kind, "digest_algorithm": algorithm, "media_type": 1}
    return pb.ImageLayer(name=name, url="u", destination_path="d", digest_value=digest, **fields)


SHARED = layer("shared", 1)
EXCLUSIVE = layer("exclusive", 2)
STRANGE = layer("strange", 0)


def dependency(**fields: str) -> pb.CachedDependency:
    return pb.CachedDependency(**{"from": "u", "to": "d", **fields})


def download(**fields: str) -> pb.Action:
    return pb.Action(download_action=pb.DownloadAction(**{"from": "u", "to": "d", **fields}))


def parallel(*actions: pb.Action, log_source: str = "") -> pb.Action:
    return pb.Action(parallel_action=pb.ParallelAction(actions=actions, log_source=log_source))


def serial(*actions: pb.Action, log_source: str = "") -> pb.Action:
    return pb.Action(serial_action=pb.SerialAction(actions=actions, log_source=log_source))


CONVERTED_SHARED = dependency(
    name="shared", checksum_algorithm="sha256", checksum_value="v", cache_key="sha256:v"
)
CONVERTED_EXCLUSIVE = download(
    artifact="exclusive", checksum_algorithm="sha256", checksum_value="v", cache_key="sha256:v", user="lu"
)


def lrp(**fields: Any) -> pb.DesiredLRP:
    return pb.DesiredLRP(process_guid="p", action=RUN, legacy_download_user="lu", **fields)


@pytest.mark.parametrize("version", [V1, V2, V3])
def test_nothing_to_convert_is_handed_back(version: Version) -> None:
    given = lrp(start_timeout_ms=5000, cached_dependencies=[dependency()])

    assert desired_lrp_at(version, given) is given


@pytest.mark.parametrize("version", Version)
def test_what_is_given_stays_as_it_was(version: Version) -> None:
    given = lrp(setup=SETUP, image_layers=[SHARED, EXCLUSIVE], start_timeout_ms=5000, metrics_guid="m")
    task = pb.Task(task_definition=pb.TaskDefinition(action=RUN, image_layers=[SHARED, EXCLUSIVE]))
    before = given.SerializeToString(deterministic=True), task.SerializeToString(deterministic=True)

    with_metrics_guid(desired_lrp_at(version, given))
    task_at(version, task)
    task_at(version, pb.Task())

    assert (given.SerializeToString(deterministic=True), task.SerializeToString(deterministic=True)) == before


def test_version_3_keeps_its_layers() -> None:
    given = lrp(image_layers=[SHARED])

    assert desired_lrp_at(V3, given) is given


@pytest.mark.parametrize("version", [V1, V2])
@pytest.mark.parametrize(
    ("setup", "layers", "expected"),
    [
        (None, [STRANGE], None),
        (SETUP, [STRANGE, SHARED], SETUP),
        (None, [EXCLUSIVE, EXCLUSIVE], parallel(CONVERTED_EXCLUSIVE, CONVERTED_EXCLUSIVE)),
        (SETUP, [SHARED, EXCLUSIVE], serial(parallel(CONVERTED_EXCLUSIVE), SETUP)),
    ],
    ids=["none, no setup", "none", "some, no setup", "some"],
)
def test_exclusive_layers_become_downloads_before_the_setup(
    version: Version, setup: pb.Action | None, layers: list[pb.ImageLayer], expected: pb.Action | None
) -> None:
    older = desired_lrp_at(version, lrp(setup=setup, image_layers=layers))

    assert older == desired_lrp_at(
        version, lrp(setup=expected, cached_dependencies=older.cached_dependencies)
    )
    assert not older.image_layers


@pytest.mark.parametrize(
    ("shared", "expected"),
    [
        (SHARED, CONVERTED_SHARED),
        (layer("a", 1, 2), dependency(name="a", checksum_algorithm="sha512", checksum_value="v", cache_key="sha512:v")),
        (layer("a", 1, 0, ""), dependency(name="a", cache_key="u")),
        (layer("a", 1, 1, ""), dependency(name="a", checksum_algorithm="sha256", cache_key="u")),
        (layer("a", 1, 0), dependency(name="a", checksum_value="v", cache_key=":v")),
        (layer("a", 1, 7), dependency(name="a", checksum_algorithm="7", checksum_value="v", cache_key="7:v")),
    ],
    ids=["sha256", "sha512", "no digest", "only an algorithm", "only a value", "unknown algorithm"],
)  # fmt: skip
def test_shared_layers_become_dependencies_before_the_others(
    shared: pb.ImageLayer, expected: pb.CachedDependency
) -> None:
    other = dependency(name="other")

    older = desired_lrp_at(V2, lrp(image_layers=[shared, EXCLUSIVE], cached_dependencies=[other]))

    assert list(older.cached_dependencies) == [expected, other]


def test_an_exclusive_layer_without_algorithm_names_it_all_the_same() -> None:
    older = desired_lrp_at(V2, lrp(image_layers=[layer("a", 2, 0)]))

    [action] = older.setup.parallel_action.actions
    assert action.download_action.cache_key == "digestalgorithminvalid:v"
    assert action.download_action.checksum_algorithm == "digestalgorithminvalid"


@pytest.mark.parametrize(
    ("start_timeout_ms", "expected"), [(0, 0), (999, 0), (5999, 5), (-1, 4294967), (2**32 + 1000, 1)]
)
def test_the_start_timeout_in_seconds(start_timeout_ms: int, expected: int) -> None:
    older = desired_lrp_at(V0, lrp(start_timeout_ms=start_timeout_ms))

    assert (older.deprecated_start_timeout_s, older.start_timeout_ms) == (expected, start_timeout_ms)


def timeout(ms: int, inner: pb.Action, ns: int = 0) -> pb.Action:
    fields: Any = {"deprecated_timeout_ns": ns}
    return pb.Action(timeout_action=pb.TimeoutAction(action=inner, timeout_ms=ms, log_source="l", **fields))


def tried(inner: pb.Action | None) -> pb.Action:
    return pb.Action(try_action=pb.TryAction(action=inner))


def reported(inner: pb.Action) -> pb.Action:
    return pb.Action(emit_progress_action=pb.EmitProgressAction(action=inner, start_message="m"))


def codependent(*actions: pb.Action, log_source: str = "") -> pb.Action:
    return pb.Action(codependent_action=pb.CodependentAction(actions=actions, log_source=log_source))


OLD = timeout(5, RUN, 5_000_000)


@pytest.mark.parametrize("holder", ["action", "setup", "monitor"])
@pytest.mark.parametrize(
    ("action", "expected"),
    [
        (RUN, RUN),
        (download(), download()),
        (pb.Action(upload_action=pb.UploadAction()), pb.Action(upload_action=pb.UploadAction())),
        (timeout(5, RUN), OLD),
        (timeout(5, tried(timeout(6, RUN))), timeout(5, tried(timeout(6, RUN)), 5_000_000)),
        (timeout(2**62, RUN), timeout(2**62, RUN, 0)),
        (tried(reported(timeout(5, RUN))), OLD),
        (tried(None), None),
        (parallel(timeout(5, RUN), tried(RUN), log_source="l"), parallel(OLD, RUN, log_source="l")),
        (serial(tried(timeout(5, RUN)), log_source="l"), serial(OLD, log_source="l")),
        (codependent(serial(timeout(5, RUN)), log_source="l"), codependent(serial(OLD), log_source="l")),
        (pb.Action(), pb.Action()),
    ],
    ids=["run", "download", "upload", "timeout", "inside a timeout", "overflow", "wrappers", "empty wrapper",
         "parallel", "serial", "codependent", "empty"],
)  # fmt: skip
def test_actions_at_version_0(holder: str, action: pb.Action, expected: pb.Action | None) -> None:
    older = desired_lrp_at(V0, pb.DesiredLRP(**{holder: action}))  # type: ignore[arg-type]  # fields by name

    assert older == pb.DesiredLRP(**{holder: expected})  # type: ignore[arg-type]  # fields by name


@pytest.mark.parametrize(
    ("setup", "rest"),
    [(None, []), (tried(timeout(5, SETUP)), [timeout(5, SETUP, 5_000_000)])],
    ids=["none", "some"],
)
def test_version_0_downloads_its_dependencies_itself(setup: pb.Action | None, rest: list[pb.Action]) -> None:
    other = dependency(name="o", cache_key="k", log_source="l", checksum_algorithm="md5", checksum_value="v")

    older = desired_lrp_at(V0, lrp(setup=setup, image_layers=[SHARED], cached_dependencies=[other]))

    downloads = parallel(
        download(artifact="shared", cache_key="sha256:v", user="lu"),
        download(artifact="o", cache_key="k", log_source="l", user="lu"),
    )
    assert older.setup == serial(downloads, *rest)
    assert not older.cached_dependencies


@pytest.mark.parametrize("version", OLDER)
def test_older_tasks_download_before_their_action(version: Version) -> None:
    timed = timeout(5, RUN)
    definition = pb.TaskDefinition(
        action=timed,
        image_layers=[SHARED, EXCLUSIVE],
        cached_dependencies=[dependency()],
        legacy_download_user="lu",
    )

    older = task_at(version, pb.Task(task_guid="t", task_definition=definition))

    expected = pb.TaskDefinition(
        action=serial(parallel(CONVERTED_EXCLUSIVE), timed),
        cached_dependencies=[CONVERTED_SHARED, dependency()],
        legacy_download_user="lu",
    )
    assert older == pb.Task(task_guid="t", task_definition=expected)


@pytest.mark.parametrize("version", Version)
def test_a_task_without_layers_is_handed_back(version: Version) -> None:
    task = pb.Task(task_definition=pb.TaskDefinition(action=tried(RUN), cached_dependencies=[dependency()]))

    assert task_at(version, task) is task


@pytest.mark.parametrize("version", Version)
def test_a_missing_definition_is_shown_as_an_empty_one(version: Version) -> None:
    assert task_at(version, pb.Task(task_guid="t")).SerializeToString() == b"\x0a\x00\x12\x01t"


STATIC = pb.MetricTagValue(static="s")
DYNAMIC = pb.MetricTagValue.FromString(b"\x10\x01")


@pytest.mark.parametrize(
    ("guid", "tags", "guid_after", "tags_after"),
    [
        ("", {"source_id": STATIC}, "s", {"source_id": STATIC}),
        ("", {"source_id": DYNAMIC}, "", {"source_id": DYNAMIC}),
        ("m", {"source_id": STATIC}, "m", {"source_id": STATIC}),
        ("s", {"a": DYNAMIC}, "s", {"a": DYNAMIC, "source_id": STATIC}),
        ("", {}, "", {}),
    ],
    ids=["tag only", "dynamic tag", "both", "guid only", "neither"],
)
def test_metrics_guid_and_source_id(
    guid: str, tags: dict[str, pb.MetricTagValue], guid_after: str, tags_after: dict[str, pb.MetricTagValue]
) -> None:
    given: Any = {"metrics_guid": guid, "metric_tags": tags}
    filled: Any = {"metrics_guid": guid_after, "metric_tags": tags_after}

    assert with_metrics_guid(lrp(**given)) == lrp(**filled)


@pytest.mark.parametrize(
    ("tag", "other", "succeeded"),
    [
        (None, ("e", 1), True),
        (("", 5), ("e", 1), True),
        (("e", 5), ("", 1), True),
        (("e", 5), ("f", 1), True),
        (("e", 5), ("e", 6), True),
        (("e", 5), ("e", 5), False),
        (("e", 5), ("e", 4), False),
    ],
)
def test_modification_tags(tag: tuple[str, int] | None, other: tuple[str, int], succeeded: bool) -> None:
    mine = pb.ModificationTag(epoch=tag[0], index=tag[1]) if tag else None

    assert is_succeeded_by(mine, pb.ModificationTag(epoch=other[0], index=other[1])) is succeeded
