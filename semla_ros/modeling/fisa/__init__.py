"""FISA: open-vocabulary segmentation by classifying the masks of a frozen mask generator with an adapted CLIP."""

from semla_ros.modeling.base import SegmenterKind
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.loss import FisaLoss
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.published import from_parts, from_published
from semla_ros.modeling.fisa.segmenter import FisaSegmenter

KIND = SegmenterKind(
    architecture=FisaArch,
    network=Fisa,
    segmenter=FisaSegmenter,
    official_compat=None,
    from_published=from_published,
    unused_keys=lambda state: [],
    module_name=str,
    loss=FisaLoss,
    from_parts=from_parts,
)
