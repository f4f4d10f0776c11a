"""CAT-Seg (CVPR 2024): open-vocabulary segmentation from the similarities of image patches and class names."""

from semla_ros.modeling.base import SegmenterKind
from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.loss import SegmentationLoss
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.official_compat import OfficialSegmenter
from semla_ros.modeling.catseg.published import from_published, our_name, unused_keys
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter

KIND = SegmenterKind(
    architecture=CatSegArch,
    network=CatSeg,
    segmenter=CatSegSegmenter,
    official_compat=OfficialSegmenter,
    from_published=from_published,
    unused_keys=unused_keys,
    module_name=our_name,
    loss=SegmentationLoss,
)
