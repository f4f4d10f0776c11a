"""A model bundle small enough for tests: random networks, and a domain and an adapter for each of three colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from semla_ros.adaptation.statistics import Statistics
from semla_ros.images.frame import Frame
from semla_ros.images.texture import texture
from semla_ros.library.adapter_folder import save_adapter
from semla_ros.library.bundle import ADAPTERS, Bundle, Defaults
from semla_ros.library.manifest import MANIFEST
from semla_ros.modeling.base import Architecture
from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.lora import Adapter
from semla_ros.modeling.navigators.clip import ClipNavigator, ClipNavigatorArch

ARCH = CatSegArch(
    image_size=32, patch_size=8, position_grid=4, embed_dim=16,
    vision_width=16, vision_layers=3, vision_heads=2, guidance_layers=(0, 1),
    text_width=16, text_layers=2, text_heads=2, context_length=16,
    aggregator_dim=16, aggregator_layers=1, aggregator_heads=2, window=2, guidance_dim=8, text_guidance_dim=8,
    decoder_dims=(16, 16), decoder_guidance_dims=(8, 8), decoder_projection_dims=(4, 4), padded_classes=8,
)  # fmt: skip
NAVIGATOR = ClipNavigatorArch(8, 16, 8, 16, 1, 2, resize_mode="squash")
COLORS = {"blue": (20, 30, 200), "green": (20, 180, 40), "red": (220, 30, 30)}
CLASSES = ("road", "sky", "car")
SECOND = 1_000_000_000


def random_network(arch: CatSegArch = ARCH, seed: int = 0) -> CatSeg:
    """A CAT-Seg whose every parameter is random, those that start at zero included."""
    network = CatSeg(arch).eval().requires_grad_(False)
    randomise(network, seed)
    return network


def randomise(network: nn.Module, seed: int) -> None:
    """Fills every parameter with random values that keep activations of a moderate size."""
    draw = torch.Generator().manual_seed(seed)
    for name, parameter in network.named_parameters():
        noise = torch.randn(parameter.shape, generator=draw)
        norm = parameter.ndim == 1 and name.endswith("weight")
        parameter.data = 1 + 0.1 * noise if norm else noise * max(parameter[0].numel(), 4) ** -0.5


def random_adapter(name: str, network: CatSeg, rank: int = 2, seed: int = 0, strength: float = 0.3) -> Adapter:
    """An adapter on every layer, strong enough to change labels."""
    draw = torch.Generator().manual_seed(seed)
    factors = {
        key: (
            strength * torch.randn(rank, layer.in_features, generator=draw),
            strength * torch.randn(layer.out_features, rank, generator=draw),
        )
        for key, layer in network.adapted_layers().items()
    }
    return Adapter(name, factors, scale=2.0)


def image(domain: str, seed: int = 0, height: int = 24, width: int = 40) -> NDArray[np.uint8]:
    """Noise about a domain's colour, (height, width, 3) uint8."""
    noise = np.random.default_rng(seed).normal(0, 15, (height, width, 3))
    return (np.array(COLORS[domain]) + noise).clip(0, 255).astype(np.uint8)


def frame(domain: str, seconds: float, seed: int | None = None) -> Frame:
    """A frame of a domain, with an image that depends on the time."""
    stamp_ns = round(seconds * SECOND)
    return Frame(image(domain, stamp_ns if seed is None else seed), stamp_ns, "camera")


def drive(*legs: tuple[str, float], start: float = 100.0, rate: float = 10.0) -> list[Frame]:
    """Frames of a drive through (domain, seconds) legs."""
    domains = [domain for domain, seconds in legs for _ in range(round(seconds * rate))]
    return [frame(domain, start + index / rate) for index, domain in enumerate(domains)]


def random_navigator() -> ClipNavigator:
    """A navigator of D = 8, the same every time."""
    network = NAVIGATOR.build()
    randomise(network, 3)
    return ClipNavigator(network, NAVIGATOR)


def save_unlisted(adapter: Adapter, statistics: Statistics, folder: Path, *options: Any, **more: Any) -> None:
    """Saves an adapter without a manifest, which would find damage before the check that a test is about."""
    save_adapter(adapter, statistics, folder, *options, **more)
    (folder / adapter.name / MANIFEST).unlink()


def write_bundle(path: Path) -> Path:
    """Writes a bundle with three adapters."""
    return write_bundle_of(random_network(), ARCH, path)


def write_bundle_of(network: Any, arch: Architecture, path: Path) -> Path:
    """Writes a bundle with a network of any kind and three adapters for it."""
    guide = random_navigator()
    Bundle(path, "random", arch, NAVIGATOR, CLASSES, defaults=Defaults(k=2)).save(network, guide.network, torch.float32)
    for seed, name in enumerate(COLORS):
        images = [image(name, i) for i in range(12)]
        statistics = Statistics.of(np.array([guide.embed(rgb) for rgb in images]), np.array(list(map(texture, images))))
        save_adapter(random_adapter(name, network, seed=seed), statistics, path / ADAPTERS)
    return path
