"""CAT-Seg (CVPR 2024): open-vocabulary segmentation from the similarities of image patches and class names."""

from collections.abc import Sequence

from torch import Tensor

from semla_ros.modeling.base import SegmenterKind
from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.published import from_published, our_name, unused_keys
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.clip.tokenizer import tokenize


def encode_text(network: CatSeg, texts: Sequence[str]) -> Tensor:
    """Encodes texts with the text encoder of CAT-Seg's CLIP; returns L2-normalised embeddings (N, embed_dim)."""
    tokens = tokenize(texts, network.arch.context_length)
    return network.clip.encode_text(tokens.to(network.clip.text_projection.device))


KIND = SegmenterKind(
    architecture=CatSegArch,
    network=CatSeg,
    segmenter=CatSegSegmenter,
    official_compat=OfficialSegmenter,
    from_published=from_published,
    unused_keys=unused_keys,
    module_name=our_name,
    encode_text=encode_text,
)
