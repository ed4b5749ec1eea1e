"""Image layers (spec: validation.md §4.1)."""

from collections.abc import Sequence
from typing import Final

from bbs.models import pb
from bbs.models.validation.fields import invalid

Layer = pb.ImageLayer

LAYER_TYPES: Final = frozenset({Layer.Type.SHARED, Layer.Type.EXCLUSIVE})
MEDIA_TYPES: Final = frozenset({Layer.MediaType.TGZ, Layer.MediaType.TAR, Layer.MediaType.ZIP})
DIGEST_ALGORITHMS: Final = frozenset({Layer.DigestAlgorithm.SHA256, Layer.DigestAlgorithm.SHA512})


def image_layers(layers: Sequence[pb.ImageLayer], *, legacy_download_user: str) -> list[str]:
    found = []
    for layer in layers:
        if broken := image_layer(layer):
            found += [invalid("image_layer"), *broken]
    if not legacy_download_user and any(layer.layer_type == Layer.Type.EXCLUSIVE for layer in layers):
        found.append(invalid("legacy_download_user"))
    return found


def image_layer(layer: pb.ImageLayer) -> list[str]:
    found = []
    needs_digest = layer.layer_type == Layer.Type.EXCLUSIVE
    if not layer.url:
        found.append(invalid("url"))
    if not layer.destination_path:
        found.append(invalid("destination_path"))
    if layer.layer_type not in LAYER_TYPES:
        found.append(invalid("layer_type"))
    if layer.media_type not in MEDIA_TYPES:
        found.append(invalid("media_type"))
    if (layer.digest_value or needs_digest) and not layer.digest_algorithm:
        found.append(invalid("digest_algorithm"))
    if (layer.digest_algorithm or needs_digest) and not layer.digest_value:
        found.append(invalid("digest_value"))
    if layer.digest_value and layer.digest_algorithm not in DIGEST_ALGORITHMS:
        found.append(invalid("digest_algorithm"))
    return found
