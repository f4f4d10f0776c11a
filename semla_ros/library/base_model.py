"""What adapters must fit: the segmenter and the navigator of a bundle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from semla_ros.adaptation.metrics import Metric, find_metric
from semla_ros.library.bundle import Bundle
from semla_ros.modeling.base import Navigator, Segmenter, linear_layers, segmenter_kind

MEMORY_MIB = 1024


@dataclass(frozen=True)
class BaseModel:
    """A segmenter without adapters, and the navigator that chooses them.

    Attributes:
        layers: Linear layers of the segmenter, by module name.
        acting: Those of them that have an effect on the output.
        parameters: All parameters of the segmenter, by name.
        module_name: Maps a published module name to the segmenter's own name.
        navigator: Embeds images.
        metric: Distance metric of the library.
    """

    layers: Mapping[str, nn.Linear]
    acting: Mapping[str, nn.Linear]
    parameters: Mapping[str, Tensor]
    module_name: Callable[[str], str]
    navigator: Navigator
    metric: Metric

    @classmethod
    def of(cls, bundle: Bundle) -> BaseModel:
        """Loads the networks of a bundle.

        Raises:
            BundleError: The weights are missing, damaged or of other sizes.
        """
        kind = segmenter_kind(bundle.segmenter.kind)
        network = bundle.load_network()
        segmenter: Segmenter = kind.segmenter(network, bundle.classes, "official", MEMORY_MIB)
        metric = find_metric(bundle.defaults.metric)
        navigator = bundle.load_navigator()
        layers, parameters = linear_layers(network), dict(network.named_parameters())
        return cls(layers, segmenter.adapted_layers(), parameters, kind.module_name, navigator, metric)
