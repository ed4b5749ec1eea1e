"""How DesiredLRPs are stored (spec: storage.md §1.3, §3)."""

from collections.abc import Sequence
from functools import lru_cache
from sys import intern
from typing import Any

from bbs.models import pb
from bbs.models.actual_lrp import ModificationTag
from bbs.models.desired_lrp import DesiredLRP
from bbs.models.wire import encode as encode_message
from bbs.store import json_columns as jsonc
from bbs.store.codecs.codec import Codec, Policy
from bbs.store.codecs.columns import Column, SQLType, Values
from bbs.store.codecs.envelope import ENVELOPE, open_envelope
from bbs.store.crypto import Keyring


@lru_cache(maxsize=1024)
def _shared_number(number: int) -> int:
    """One copy of each number, as of texts below: the driver makes one for every row, of 32 bytes."""
    return number


class DesiredLRPCodec(Codec):
    table = "desired_lrps"
    columns = (
        Column("process_guid", SQLType.TEXT, 255),
        Column("domain", SQLType.TEXT, 255),
        Column("log_guid", SQLType.TEXT, 255),
        Column("annotation", SQLType.TEXT),
        Column("instances", SQLType.INT4),
        Column("memory_mb", SQLType.INT4),
        Column("disk_mb", SQLType.INT4),
        Column("rootfs", SQLType.TEXT, 1024),
        Column("modification_tag_epoch", SQLType.TEXT, 255),
        Column("modification_tag_index", SQLType.INT4),
        Column("placement_tags", SQLType.TEXT),
        Column("max_pids", SQLType.INT4),
        Column("update_strategy", SQLType.INT4),
        Column("routes", SQLType.TEXT, sealed=True),
        Column("volume_placement", SQLType.TEXT, sealed=True),
        Column("run_info", SQLType.TEXT, sealed=True),
        Column("metric_tags", SQLType.TEXT, sealed=True),
    )

    def key_values(self, key: str) -> Values:
        return (key,)

    def encode(self, record: DesiredLRP, keyring: Keyring) -> Values:
        seal = keyring.seal
        return (
            *self.plain(record),
            seal(jsonc.dump_routes(record.routes)),
            seal(ENVELOPE + encode_message(pb.VolumePlacement(driver_names=record.volume_drivers))),
            seal(ENVELOPE + record.run_info),
            seal(jsonc.dump_metric_tags(record.metric_tags)),
        )

    def plain(self, record: DesiredLRP) -> Values:
        return (
            record.process_guid,
            record.domain,
            record.log_guid,
            record.annotation,
            record.instances,
            record.memory_mb,
            record.disk_mb,
            record.rootfs,
            record.tag.epoch,
            record.tag.index,
            jsonc.dump_strings(record.placement_tags).decode(),
            record.max_pids,
            record.update_strategy,
        )

    def decode(self, row: Sequence[Any], keyring: Keyring) -> DesiredLRP:
        (
            process_guid, domain, log_guid, annotation, instances, memory_mb, disk_mb, rootfs, epoch, index,
            placement_tags, max_pids, update_strategy, routes, volume_placement, run_info, metric_tags,
        ) = row  # fmt: skip

        index = self.tag_index(row, index)
        column, policy = "routes", Policy.LEAVE_OUT
        try:
            opened_routes = jsonc.load_routes(keyring.open(routes))
            column = "volume_placement"
            opened = keyring.open(volume_placement)
            volume_drivers: tuple[str, ...] = ()
            if opened != ENVELOPE:  # as nearly all are
                volume_drivers = tuple(open_envelope(pb.VolumePlacement, opened).driver_names)
            column = "placement_tags"
            read_placement_tags = jsonc.load_strings(placement_tags.encode()) if placement_tags else None
            column = "metric_tags"
            opened_tags = jsonc.load_metric_tags(keyring.open(metric_tags)) if metric_tags else ()
            # Last, since of several broken columns the first one decides: a row in which more is wrong is left alone rather
            # than deleted.
            column, policy = "run_info", Policy.DELETE
            opened = keyring.open(run_info)
            open_envelope(pb.DesiredLRPRunInfo, opened)
        except (ValueError, RecursionError) as error:
            raise self.unreadable(row, column, error, policy) from error
        return DesiredLRP(
            # Few values in many rows: one copy of each is enough. Guids are in ActualLRPs and in metric tags as well.
            process_guid=intern(process_guid),
            domain=intern(domain),
            log_guid=intern(log_guid),
            annotation=annotation or "",
            instances=instances,
            memory_mb=_shared_number(memory_mb),
            disk_mb=_shared_number(disk_mb),
            max_pids=max_pids or 0,
            rootfs=intern(rootfs),
            routes=opened_routes,
            volume_drivers=volume_drivers,
            placement_tags=read_placement_tags,
            metric_tags=opened_tags,
            update_strategy=update_strategy,
            # Kept byte for byte, not encoded again: a newer version may have written fields that are unknown here. An update
            # writes the whole row, and would drop them.
            run_info=opened[len(ENVELOPE) :],
            tag=ModificationTag(epoch=epoch, index=index),
        )
