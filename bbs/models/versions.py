"""Older shapes of DesiredLRPs and Tasks, for the clients of older endpoint revisions (spec: api.md §7).

Everything is held in the newest shape, version 3. Nothing given in here is ever changed: what needs a change is copied
first, what needs none is handed back as it came.
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from bbs.models import pb
from bbs.models.actions import inner_action

SHARED: Final = pb.ImageLayer.Type.SHARED
EXCLUSIVE: Final = pb.ImageLayer.Type.EXCLUSIVE
DigestAlgorithm: Final = pb.ImageLayer.DigestAlgorithm

NS_PER_MS: Final = 1_000_000


class Version(IntEnum):
    """Of a payload, not of an endpoint: ``/v1/tasks/list.r2`` answers with version 2, an r0 stream with version 0."""

    V0 = 0
    V1 = 1
    V2 = 2
    V3 = 3


def desired_lrp_at(version: Version, lrp: pb.DesiredLRP) -> pb.DesiredLRP:
    """``lrp`` as a client of that version expects it: ``lrp`` itself if nothing has to change."""
    if version >= Version.V3 or (version >= Version.V1 and not lrp.image_layers):
        return lrp
    older = _copy(lrp)
    if lrp.image_layers:
        # The layers are read from `lrp`, since they are gone from `older` by then.
        _replace_shared_layers(older)
        setup = _with_downloads(lrp, lrp.setup if lrp.HasField("setup") else None)
        _set_action(older, "setup", setup)
    if version == Version.V0:
        _to_v0(older)
    return older


def task_at(version: Version, task: pb.Task) -> pb.Task:
    """``task`` as a client of that version expects it. A missing definition is shown as an empty one, always."""
    if task.HasField("task_definition") and (version >= Version.V3 or not task.task_definition.image_layers):
        return task
    older = pb.Task()
    older.CopyFrom(task)
    definition = older.task_definition
    definition.SetInParent()
    if version < Version.V3 and definition.image_layers:
        action = _with_downloads(
            task.task_definition, definition.action if definition.HasField("action") else None
        )
        _set_action(definition, "action", action)
        _replace_shared_layers(definition)
    return older


def with_metrics_guid(lrp: pb.DesiredLRP) -> pb.DesiredLRP:
    """``lrp`` with its metrics guid taken from the tag ``source_id``, or the tag from the guid (spec: api.md §7.4).

    They say the same, and clients set and read the one or the other. Where both are set nothing is changed.
    """
    tagged = "source_id" in lrp.metric_tags
    if tagged and not lrp.metrics_guid:
        source_id = lrp.metric_tags["source_id"].static
        if source_id:
            lrp = _copy(lrp)
            lrp.metrics_guid = source_id
    elif not tagged and lrp.metrics_guid:
        lrp = _copy(lrp)
        lrp.metric_tags["source_id"].static = lrp.metrics_guid
    return lrp


def _copy(lrp: pb.DesiredLRP) -> pb.DesiredLRP:
    copied = pb.DesiredLRP()
    copied.CopyFrom(lrp)
    return copied


def _set_action(holder: pb.DesiredLRP | pb.TaskDefinition, name: str, action: pb.Action | None) -> None:
    if action is None:
        holder.ClearField(name)
    else:
        getattr(holder, name).CopyFrom(action)


# Version 3 to 2: image layers become cached dependencies and downloads.


def _replace_shared_layers(holder: pb.DesiredLRP | pb.TaskDefinition) -> None:
    dependencies = [_cached_dependency(layer) for layer in holder.image_layers if layer.layer_type == SHARED]
    dependencies.extend(holder.cached_dependencies)
    holder.ClearField("cached_dependencies")
    holder.cached_dependencies.extend(dependencies)
    holder.ClearField("image_layers")


def _with_downloads(
    holder: pb.DesiredLRP | pb.TaskDefinition, existing: pb.Action | None
) -> pb.Action | None:
    """The action that first downloads the exclusive layers of ``holder``, then does what ``existing`` did."""
    downloads = [
        pb.Action(download_action=_download(layer, holder.legacy_download_user))
        for layer in holder.image_layers
        if layer.layer_type == EXCLUSIVE
    ]
    if not downloads:
        return existing
    return _parallel(downloads) if existing is None else _serial([_parallel(downloads), existing])


def _cached_dependency(layer: pb.ImageLayer) -> pb.CachedDependency:
    algorithm = (
        "" if layer.digest_algorithm == DigestAlgorithm.DigestAlgorithmInvalid else _algorithm_name(layer)
    )
    dependency = pb.CachedDependency(
        name=layer.name,
        to=layer.destination_path,
        cache_key=f"{algorithm}:{layer.digest_value}" if layer.digest_value else layer.url,
        checksum_algorithm=algorithm,
        checksum_value=layer.digest_value,
    )
    setattr(dependency, "from", layer.url)
    return dependency


def _download(layer: pb.ImageLayer, user: str) -> pb.DownloadAction:
    algorithm = _algorithm_name(layer)
    download = pb.DownloadAction(
        artifact=layer.name,
        to=layer.destination_path,
        cache_key=f"{algorithm}:{layer.digest_value}",
        user=user,
        checksum_algorithm=algorithm,
        checksum_value=layer.digest_value,
    )
    setattr(download, "from", layer.url)
    return download


def _algorithm_name(layer: pb.ImageLayer) -> str:
    """In lower case; a number without a name reads as its digits."""
    known = DigestAlgorithm.values()
    name = DigestAlgorithm.Name(layer.digest_algorithm) if layer.digest_algorithm in known else None
    return str(int(layer.digest_algorithm)) if name is None else name.lower()


# Version 1 to 0: timeouts in nanoseconds, no wrappers that only report, no cached dependencies.


def _to_v0(lrp: pb.DesiredLRP) -> None:
    for name in ("action", "setup", "monitor"):
        if lrp.HasField(name):
            _set_action(lrp, name, _with_old_timeouts(getattr(lrp, name)))
    # Go converts to an unsigned 32-bit number before it divides, so negative and very large timeouts wrap around.
    lrp.deprecated_start_timeout_s = (lrp.start_timeout_ms & 0xFFFF_FFFF) // 1000
    if lrp.cached_dependencies:
        downloads = _parallel(
            pb.Action(download_action=_download_of(dependency, lrp.legacy_download_user))
            for dependency in lrp.cached_dependencies
        )
        lrp.setup.CopyFrom(_serial([downloads, lrp.setup] if lrp.HasField("setup") else [downloads]))
        lrp.ClearField("cached_dependencies")


def _with_old_timeouts(action: pb.Action) -> pb.Action | None:
    """An action as version 0 knows it (spec: api.md §7.3); ``None`` for a wrapper that wraps nothing.

    Try and emit-progress actions are replaced by what they wrap, all the way down. What a timeout action wraps stays as it
    is, as upstream leaves it.
    """
    name, inner = inner_action(action)
    older = pb.Action()
    match name:
        case "timeout_action":
            older.timeout_action.CopyFrom(inner)
            older.timeout_action.deprecated_timeout_ns = _int64(inner.timeout_ms * NS_PER_MS)
        case "emit_progress_action" | "try_action":
            return _with_old_timeouts(inner.action) if inner.HasField("action") else None
        case "parallel_action" | "serial_action" | "codependent_action":
            group = getattr(older, name)
            group.SetInParent()
            group.log_source = inner.log_source
            group.actions.extend(_all_with_old_timeouts(inner.actions))
        case _:
            return action
    return older


def _all_with_old_timeouts(actions: Iterable[pb.Action]) -> list[pb.Action]:
    older = (_with_old_timeouts(action) for action in actions)
    return [action for action in older if action is not None]


def _download_of(dependency: pb.CachedDependency, user: str) -> pb.DownloadAction:
    """Checksums are left behind: version 0 never had them."""
    download = pb.DownloadAction(
        artifact=dependency.name,
        to=dependency.to,
        cache_key=dependency.cache_key,
        log_source=dependency.log_source,
        user=user,
    )
    setattr(download, "from", getattr(dependency, "from"))
    return download


def _int64(value: int) -> int:
    """``value`` wrapped around to 64 bits with sign, as the product is in Go."""
    return (value + 2**63) % 2**64 - 2**63


def _parallel(actions: Iterable[pb.Action]) -> pb.Action:
    return pb.Action(parallel_action=pb.ParallelAction(actions=actions))


def _serial(actions: Iterable[pb.Action]) -> pb.Action:
    return pb.Action(serial_action=pb.SerialAction(actions=actions))
