"""How ActualLRPs are stored (spec: storage.md §1.4, §3)."""

from collections.abc import Sequence
from sys import intern
from typing import Any, Final

from bbs.models import pb
from bbs.models.actual_lrp import (
    NO_INSTANCE,
    ActualLRP,
    ActualLRPKey,
    ActualLRPState,
    InstanceKey,
    ModificationTag,
    Presence,
)
from bbs.models.wire import encode as encode_message
from bbs.store import json_columns as jsonc
from bbs.store.codecs.codec import Codec, Policy
from bbs.store.codecs.columns import Column, SQLType, Values
from bbs.store.codecs.envelope import ENVELOPE, open_envelope
from bbs.store.crypto import Keyring

# Looked up three times as fast as an enum is called.
_PRESENCES: Final = {presence.value: presence for presence in Presence}
_STATES: Final = {state.value: state for state in ActualLRPState}


class ActualLRPCodec(Codec):
    table = "actual_lrps"
    columns = (
        Column("process_guid", SQLType.TEXT, 255),
        Column("instance_index", SQLType.INT4),
        Column("presence", SQLType.INT4),
        Column("domain", SQLType.TEXT, 255),
        Column("state", SQLType.TEXT, 255),
        Column("instance_guid", SQLType.TEXT, 255),
        Column("cell_id", SQLType.TEXT, 255),
        Column("placement_error", SQLType.TEXT, 1024),
        Column("since", SQLType.INT8),
        Column("modification_tag_epoch", SQLType.TEXT, 255),
        Column("modification_tag_index", SQLType.INT4),
        Column("crash_count", SQLType.INT4),
        Column("crash_reason", SQLType.TEXT, 1024),
        Column("routable", SQLType.BOOL),
        Column("availability_zone", SQLType.TEXT, 255),
        Column("net_info", SQLType.TEXT, sealed=True),
        Column("internal_routes", SQLType.TEXT, sealed=True),
        Column("metric_tags", SQLType.TEXT, sealed=True),
    )
    key_columns = 3

    def key_values(self, key: ActualLRPKey) -> Values:
        return key  # it is a tuple of these

    def encode(self, record: ActualLRP, keyring: Keyring) -> Values:
        seal = keyring.seal
        return (
            *self.plain(record),
            seal(ENVELOPE + record.net_info),
            seal(jsonc.dump_internal_routes(record.internal_routes)),
            seal(jsonc.dump_string_map(record.metric_tags)),
        )

    def plain(self, record: ActualLRP) -> Values:
        return (
            record.process_guid,
            record.index,
            int(record.presence),
            record.domain,
            record.state.value,
            record.instance.instance_guid,
            record.instance.cell_id,
            record.placement_error,
            record.since_ns,
            record.tag.epoch,
            record.tag.index,
            record.crash_count,
            record.crash_reason,
            record.routable,
            record.availability_zone,
        )

    def decode(self, row: Sequence[Any], keyring: Keyring) -> ActualLRP:
        (
            process_guid, index, presence, domain, state, instance_guid, cell_id, placement_error, since_ns, epoch,
            tag_index, crash_count, crash_reason, routable, availability_zone, net_info, internal_routes, metric_tags,
        ) = row  # fmt: skip
        try:
            known_presence, known_state = _PRESENCES[presence], _STATES[state]
        except KeyError as error:
            # Upstream reads any state and presence. Such a row may mean something to a newer version, so it stays.
            unknown = ValueError(f"{error} is not known")
            raise self.unreadable(row, "presence, state", unknown, Policy.LEAVE_OUT) from error
        tag_index = self.tag_index(row, tag_index)
        column = "net_info"
        try:
            # Decoded and encoded again: a start compares it byte by byte with what a cell reports, and upstream's server may
            # have written the same message in other bytes. Without this, the next report of every instance would be a write.
            opened_net_info = keyring.open(net_info) if net_info else ENVELOPE
            opened_net_info = (
                b""
                if opened_net_info == ENVELOPE
                else encode_message(open_envelope(pb.ActualLRPNetInfo, opened_net_info))
            )
            column = "internal_routes"
            opened_routes = (
                jsonc.load_internal_routes(keyring.open(internal_routes)) if internal_routes else ()
            )
            column = "metric_tags"
            opened_tags = jsonc.load_string_map(keyring.open(metric_tags)) if metric_tags else ()
        except (ValueError, RecursionError) as error:
            raise self.unreadable(row, column, error, Policy.DELETE) from error
        return ActualLRP(
            # Few values in many rows: one copy of each is enough.
            process_guid=intern(process_guid),
            index=index,
            domain=intern(domain),
            presence=known_presence,
            state=known_state,
            instance=(
                InstanceKey(instance_guid=instance_guid, cell_id=intern(cell_id))
                if instance_guid or cell_id
                else NO_INSTANCE
            ),
            net_info=opened_net_info,
            internal_routes=opened_routes,
            metric_tags=opened_tags,
            routable=bool(routable),
            availability_zone=intern(availability_zone),
            crash_count=crash_count,
            crash_reason=crash_reason,
            placement_error=placement_error,
            since_ns=since_ns or 0,
            tag=ModificationTag(epoch=epoch, index=tag_index),
        )
