"""What is measured: a segmenter of some size, its navigator, and a library of random adapters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semla_ros.adaptation.centroid_index import CentroidIndex
from semla_ros.adaptation.retrieval import Mixture, retrieve
from semla_ros.evaluation.rendered import HELD_OUT_SEED
from semla_ros.images.classes import CITYSCAPES_COLORS
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.modeling.base import Navigator
from semla_ros.modeling.catseg.architecture import VIT_B16, VIT_L14_336, CatSegArch
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.catseg.segmenter import CatSegSegmenter
from semla_ros.modeling.lora import Adapter, LoraFuser
from semla_ros.modeling.navigators.clip import ClipNavigator, ClipNavigatorArch
from semla_ros.streetworld.dataset import sample
from semla_ros.streetworld.domains import DOMAINS

CLIP_L14 = ClipNavigatorArch(embed_dim=768, image_size=224, patch_size=14, width=1024, layers=24, heads=16)
IMAGE = 480, 640  # height and width
TEMPERATURE = 0.05


@dataclass(frozen=True)
class Options:
    """Sizes of a benchmark.

    Attributes:
        classes: Number of classes T.
        adapters: Number of adapters N in the library.
        k: Number of adapters K in a mixture.
        rank: Rank of every adapter.
        repeats: Repetitions of every row.
        device: Device of the networks, "cpu" or "cuda".
    """

    classes: int = 19
    adapters: int = 20
    k: int = 5
    rank: int = 8
    repeats: int = 9
    device: str = "cpu"


class Subject:
    """Networks and adapters with seeded random weights, or the bundled ones.

    Args:
        network: Network of the segmenter.
        navigator: Navigator.
        classes: Class names.
        options: Sizes.
        images: Images for a trained network, (H, W, 3) uint8 each; without any, a random network is shown noise.
    """

    def __init__(
        self, network: CatSeg, navigator: Navigator, classes: Sequence[str], options: Options,
        images: Sequence[NDArray[np.uint8]] = (),
    ) -> None:  # fmt: skip
        self.segmenter = CatSegSegmenter(network.to(options.device), classes)
        self.navigator, self.options = navigator, options
        navigator.network.to(options.device)
        self.fuser = LoraFuser(self.segmenter.adapted_layers())
        draw = torch.Generator().manual_seed(1)
        self.adapters = [adapter(f"a{i}", self.segmenter, options.rank, draw) for i in range(options.adapters)]
        self.images = images
        self.rgb = images[0] if images else image(*IMAGE)
        centroids = np.random.default_rng(2).normal(size=(options.adapters, navigator.embed_dim))
        self.index = CentroidIndex(centroids)

    def retrieve(self, embedding: NDArray[np.float64]) -> Mixture:
        """Returns the mixture for an embedding (D,)."""
        names = [each.name for each in self.adapters]
        return retrieve(embedding, names, self.index, self.options.k, TEMPERATURE)

    def fuse(self, mixture: Mixture) -> None:
        """Fuses a mixture into the weights."""
        by_name = {each.name: each for each in self.adapters}
        self.fuser.apply([by_name[name] for name in mixture.names], mixture.weights)

    def pixels(self, rgb: NDArray[np.uint8] | None = None) -> torch.Tensor:
        """Returns an image, by default the first one, as the network takes it: (1, 3, S, S)."""
        return self.segmenter.pixels(self.rgb if rgb is None else rgb)


def adapter(name: str, segmenter: CatSegSegmenter, rank: int, draw: torch.Generator) -> Adapter:
    """Makes an adapter with random factors on every adapted layer."""
    factors = {
        module: (
            (torch.randn(rank, layer.in_features, generator=draw) * layer.in_features**-0.5).to(layer.weight),
            (torch.randn(layer.out_features, rank, generator=draw) * 0.02).to(layer.weight),
        )
        for module, layer in segmenter.adapted_layers().items()
    }
    return Adapter(name, factors, scale=2.0)


def image(height: int, width: int) -> NDArray[np.uint8]:
    """Makes an image (height, width, 3) uint8 of coarse and fine noise: no two patches are alike."""
    draw = np.random.default_rng(0)
    fine, coarse = draw.normal(0, 25, (height, width, 3)), draw.normal(0, 60, (height // 40 + 1, width // 40 + 1, 3))
    blocks = coarse.repeat(40, 0).repeat(40, 1)[:height, :width]
    return (120 + fine + blocks).clip(0, 255).astype(np.uint8)


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fills a network with random weights that keep activations finite and varied."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = torch.randn(parameter.shape, generator=draw)
            norm = parameter.ndim == 1 and name.endswith("weight")
            parameter.copy_(1 + 0.1 * noise if norm else noise * max(parameter[0].numel(), 16) ** -0.5)
    return network


def _bundled(options: Options) -> Subject:
    bundle = Bundle.open(find_bundle("streetworld"))
    images = [sample(domain, 0, HELD_OUT_SEED).rgb for domain in DOMAINS]
    network = bundle.load_network()
    assert isinstance(network, CatSeg)  # the straightforward computation is that of CAT-Seg
    return Subject(network, bundle.load_navigator(), bundle.classes, options, images)


def _random(arch: CatSegArch) -> Callable[[Options], Subject]:
    def build(options: Options) -> Subject:
        network = CatSeg(arch)
        seeded(network)
        navigator = CLIP_L14.build()
        seeded(navigator)
        names = [*CITYSCAPES_COLORS, *(f"thing {i}" for i in range(options.classes))]
        return Subject(network, ClipNavigator(navigator, CLIP_L14), names[: options.classes], options)

    return build


SIZES: dict[str, Callable[[Options], Subject]] = {
    "streetworld": _bundled,
    "vitb16": _random(VIT_B16),
    "vitl14": _random(VIT_L14_336),
}
