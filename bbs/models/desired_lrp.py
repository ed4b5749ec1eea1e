"""What should run: the DesiredLRP record, and its ways in and out of the wire messages."""

from collections.abc import Mapping
from dataclasses import field
from typing import Final

from google.protobuf.message import Message

from bbs.models import pb
from bbs.models.actual_lrp import LIST_ELEMENT, ModificationTag
from bbs.models.errors import InvalidRequest
from bbs.models.go_json import compact_raw_json
from bbs.models.record import record
from bbs.models.versions import with_metrics_guid
from bbs.models.wire import encode, frame

Routes = tuple[tuple[str, bytes], ...]
"""Router group name and its raw JSON, sorted by name, each value in its stored (compacted) form."""

Parts = tuple[bytes, ...]
"""Bytes in pieces that are to be joined. Long values of routes are pieces by themselves, the very objects in the record's
``routes``: they are most of what lists say of an LRP, and so take memory once, however many forms of it are kept."""

SHARED_BYTES_MIN: Final = 192
"""A value that long is a piece by itself: one more tuple slot or two, and 33 bytes for the piece after it, are less than that."""

ROLLING: Final = 0
RECREATE: Final = 1


@record
class MetricTag:
    """A tag's value: ``static`` text, or a ``dynamic`` one (1 the index, 2 the instance guid; 0 none)."""

    static: str = ""
    dynamic: int = 0


MetricTags = tuple[tuple[str, MetricTag], ...]
"""Tag names and values, sorted by name."""


@record
class DesiredLRP:
    """A row of ``desired_lrps`` (spec: desired-lrps.md §1).

    ``routes`` and ``placement_tags`` are ``None`` when the client sent none; neither is ever ``()``.
    ``volume_drivers`` names the driver of each volume mount, in order, duplicates kept.
    ``run_info`` is a serialised ``models.DesiredLRPRunInfo``: all that no query looks into. It stays bytes, which are
    decoded only for a reader who wants the whole LRP; most want scheduling or routing infos.
    """

    process_guid: str
    domain: str
    log_guid: str
    annotation: str = ""
    instances: int
    memory_mb: int = 0
    disk_mb: int = 0
    max_pids: int = 0
    rootfs: str
    routes: Routes | None = None
    volume_drivers: tuple[str, ...] = ()
    placement_tags: tuple[str, ...] | None = None
    metric_tags: MetricTags = ()
    update_strategy: int = ROLLING
    run_info: bytes
    tag: ModificationTag
    # Kept once made, as in `ActualLRP`.
    kept_parts: Parts | None = field(default=None, init=False, repr=False, compare=False)
    kept_scheduling_info: Parts | None = field(default=None, init=False, repr=False, compare=False)
    kept_routing_info: Parts | None = field(default=None, init=False, repr=False, compare=False)
    """What the properties of these names gave, once somebody has asked for them."""

    @property
    def key(self) -> str:
        return self.process_guid

    @property
    def parts(self) -> Parts:
        """The whole LRP at version 3 as one element of a list response.

        Its metrics guid and its tag ``source_id`` are filled in from one another (`with_metrics_guid`). Events carry
        the LRP without that, as upstream's do, so `message` leaves it out.
        """
        if self.kept_parts is None:
            made = _in_parts(with_metrics_guid(self.message()), self.routes)
            object.__setattr__(self, "kept_parts", made)
        assert self.kept_parts is not None
        return self.kept_parts

    @property
    def scheduling_info_parts(self) -> Parts:
        """The scheduling info as one element of a list response."""
        if self.kept_scheduling_info is None:
            made = _in_parts(self.scheduling_info(), self.routes)
            object.__setattr__(self, "kept_scheduling_info", made)
        assert self.kept_scheduling_info is not None
        return self.kept_scheduling_info

    @property
    def routing_info_parts(self) -> Parts:
        """The routing info as one element of a list response."""
        if self.kept_routing_info is None:
            made = _in_parts(self.routing_info(), self.routes)
            object.__setattr__(self, "kept_routing_info", made)
        assert self.kept_routing_info is not None
        return self.kept_routing_info

    def message(self) -> pb.DesiredLRP:
        """The whole LRP at version 3, as events carry it."""
        run_info = pb.DesiredLRPRunInfo.FromString(self.run_info)
        message = pb.DesiredLRP(
            process_guid=self.process_guid,
            domain=self.domain,
            log_guid=self.log_guid,
            annotation=self.annotation,
            instances=self.instances,
            memory_mb=self.memory_mb,
            disk_mb=self.disk_mb,
            max_pids=self.max_pids,
            root_fs=self.rootfs,
            PlacementTags=self.placement_tags or (),
            update_strategy=self.update_strategy,
        )
        _copy_fields(run_info, message)
        self._fill_changeable(message)
        return message

    def scheduling_info(self) -> pb.DesiredLRPSchedulingInfo:
        """What placing an instance needs; no actions, no credentials."""
        info = pb.DesiredLRPSchedulingInfo(
            annotation=self.annotation, instances=self.instances, PlacementTags=self.placement_tags or ()
        )
        info.desired_lrp_key.process_guid = self.process_guid
        info.desired_lrp_key.domain = self.domain
        info.desired_lrp_key.log_guid = self.log_guid
        info.desired_lrp_resource.memory_mb = self.memory_mb
        info.desired_lrp_resource.disk_mb = self.disk_mb
        info.desired_lrp_resource.max_pids = self.max_pids
        info.desired_lrp_resource.root_fs = self.rootfs
        fill_routes(info.routes, self.routes)
        info.modification_tag.epoch = self.tag.epoch
        info.modification_tag.index = self.tag.index
        info.volume_placement.SetInParent()
        info.volume_placement.driver_names.extend(self.volume_drivers)
        return info

    def routing_info(self) -> pb.DesiredLRP:
        """A partial LRP with what route-emitters need (spec: api.md 8.5)."""
        message = pb.DesiredLRP(
            process_guid=self.process_guid,
            domain=self.domain,
            log_guid=self.log_guid,
            instances=self.instances,
        )
        self._fill_changeable(message)
        return message

    def _fill_changeable(self, message: pb.DesiredLRP) -> None:
        fill_routes(message.routes, self.routes)
        message.modification_tag.SetInParent()
        message.modification_tag.epoch = self.tag.epoch
        message.modification_tag.index = self.tag.index
        for name, tag in self.metric_tags:
            value = message.metric_tags[name]
            value.static = tag.static
            value.dynamic = tag.dynamic


def desired_lrp_from_message(
    message: pb.DesiredLRP, *, tag: ModificationTag, created_at_ns: int
) -> DesiredLRP:
    """The record that a desire creates (spec: desired-lrps.md §1), made at ``created_at_ns``, Unix nanoseconds. ``message`` is
    at version 3. The client's own modification tag is not looked at.

    Raises:
      InvalidRequest: a route is not valid JSON, or is the JSON ``null``.
    """
    run_info = pb.DesiredLRPRunInfo(created_at=created_at_ns)
    run_info.desired_lrp_key.process_guid = message.process_guid
    run_info.desired_lrp_key.domain = message.domain
    run_info.desired_lrp_key.log_guid = message.log_guid
    _copy_fields(message, run_info)
    return DesiredLRP(
        process_guid=message.process_guid,
        domain=message.domain,
        log_guid=message.log_guid,
        annotation=message.annotation,
        instances=message.instances,
        memory_mb=message.memory_mb,
        disk_mb=message.disk_mb,
        max_pids=message.max_pids,
        rootfs=message.root_fs,
        routes=stored_routes(message.routes.routes) if message.HasField("routes") else None,
        volume_drivers=tuple(mount.driver for mount in message.volume_mounts),
        placement_tags=tuple(message.PlacementTags) or None,
        metric_tags=metric_tags_from_message(message.metric_tags),
        update_strategy=int(message.update_strategy),
        run_info=encode(run_info),
        tag=tag,
    )


def stored_routes(routes: Mapping[str, bytes]) -> Routes | None:
    """Routes in the form they are stored and read back in (spec: storage.md 3.4); none at all is ``None``.

    Raises:
      InvalidRequest: a value is not valid JSON, or is the JSON ``null``, which upstream would store and then die of.
    """
    stored = []
    for name in sorted(routes):
        try:
            value = compact_raw_json(routes[name])
        except ValueError as error:
            raise InvalidRequest from error
        if value == b"null":
            raise InvalidRequest
        stored.append((name, value))
    return tuple(stored) or None


def fill_routes(message: pb.ProtoRoutes, routes: Routes | None) -> None:
    """Write ``routes`` into ``message``, which is set even if there are none: readers always find it, maybe empty."""
    message.SetInParent()
    for name, value in routes or ():
        message.routes[name] = value


def _in_parts(message: Message, routes: Routes | None) -> Parts:
    """``message`` as one element of a list response, cut around the long values of ``routes``.

    A value is cut out wherever it is found: whatever it stands for there, the same bytes are the same bytes.
    """
    parts = [frame(LIST_ELEMENT, encode(message))]
    for _, value in routes or ():
        if len(value) < SHARED_BYTES_MIN:
            continue
        for number in range(0, len(parts), 2):  # those between are values already
            part = parts[number]
            at = part.find(value)
            if at >= 0:
                parts[number : number + 1] = part[:at], value, part[at + len(value) :]
                break
    return tuple(parts)


def metric_tags_from_message(tags: Mapping[str, pb.MetricTagValue]) -> MetricTags:
    # Sorted, so that equal tags are equal tuples: a protobuf map has no order.
    return tuple(
        (name, MetricTag(static=tags[name].static, dynamic=int(tags[name].dynamic))) for name in sorted(tags)
    )


# Fields that the run info and the whole LRP have in common. Their names are the same, their numbers are not, so a run
# info cannot simply be parsed as an LRP (spec: storage.md 3.5).
RUN_INFO_FIELDS: Final = frozenset(
    {
        "environment_variables",
        "setup",
        "action",
        "monitor",
        "privileged",
        "cpu_weight",
        "ports",
        "egress_rules",
        "log_source",
        "metrics_guid",
        "cached_dependencies",
        "legacy_download_user",
        "trusted_system_certificates_path",
        "volume_mounts",
        "network",
        "start_timeout_ms",
        "certificate_properties",
        "image_username",
        "image_password",
        "check_definition",
        "image_layers",
        "sidecars",
        "log_rate_limit",
        "volume_mounted_files",
    }
)


def _copied(message_class: type[pb.DesiredLRP | pb.DesiredLRPRunInfo]) -> dict[int, tuple[str, bool, bool]]:
    """Of `RUN_INFO_FIELDS`: by number the name, whether the field is repeated, and whether it holds messages. Asking the
    descriptors each time is most of what copying costs.
    """
    by_name = message_class.DESCRIPTOR.fields_by_name
    return {
        field.number: (name, field.is_repeated, field.message_type is not None)
        for name in RUN_INFO_FIELDS
        for field in [by_name[name]]
    }


_COPIED: Final = {
    message_class: _copied(message_class) for message_class in (pb.DesiredLRP, pb.DesiredLRPRunInfo)
}


def _copy_fields(
    source: pb.DesiredLRP | pb.DesiredLRPRunInfo,
    target: pb.DesiredLRP | pb.DesiredLRPRunInfo,
) -> None:
    """Copy those of `RUN_INFO_FIELDS` that are set. A port named twice is one port (spec: desired-lrps.md §1)."""
    copied = _COPIED[type(source)]
    for field_descriptor, value in source.ListFields():
        found = copied.get(field_descriptor.number)
        if found is None:
            continue
        name, is_repeated, is_message = found
        if name == "ports":
            target.ports.extend(dict.fromkeys(value))
        elif is_repeated:
            getattr(target, name).MergeFrom(value)
        elif is_message:
            getattr(target, name).CopyFrom(value)
        else:
            setattr(target, name, value)
