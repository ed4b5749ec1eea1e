"""``python -m tests.cell_process ADDRESS CELL_ID TTL_S``: a cell that registers with a Locket, with nothing but grpcio.

Prints ``registered`` once it is, and renews until it is killed.
"""

import json
import sys
import time
from typing import Any

import grpc

from bbs.models.pb import locket_pb2


def register(address: str, cell_id: str, ttl_s: int) -> None:
    presence = {
        "cell_id": cell_id,
        "rep_address": "http://10.0.0.1:1800",
        "zone": "z1",
        "capacity": {"memory_mb": 1024, "disk_mb": 2048, "containers": 250},
        "rep_url": "https://cell.service.cf.internal:1801",
        "annotations": {},
    }
    resource = locket_pb2.Resource(
        key=cell_id,
        owner="owner",
        value=json.dumps(presence),
        type="presence",
        type_code=locket_pb2.PRESENCE,
    )
    request = locket_pb2.LockRequest(resource=resource, ttl_in_seconds=ttl_s)
    with grpc.insecure_channel(address) as channel:
        lock: Any = channel.unary_unary(
            "/models.Locket/Lock",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=locket_pb2.LockResponse.FromString,
        )
        lock(request, timeout=30, wait_for_ready=True)
        print("registered", flush=True)
        while True:
            time.sleep(ttl_s / 3)
            lock(request, timeout=30)


if __name__ == "__main__":
    register(sys.argv[1], sys.argv[2], int(sys.argv[3]))
