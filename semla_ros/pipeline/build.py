"""The only place that wires the stages together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from semla_ros.config import Config
from semla_ros.errors import ConfigError
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.modeling.base import MakeSegmenter, Navigator, segmenter_kind
from semla_ros.pipeline.embedding import Embedder, SynchronousEmbedder
from semla_ros.pipeline.pipeline import SemlaPipeline

LOG = logging.getLogger(__name__)
ALL_THREADS = torch.get_num_threads()  # before a navigator's thread takes less


def build_pipeline(config: Config, embedder: Callable[[Navigator], Embedder] = SynchronousEmbedder) -> SemlaPipeline:
    """Loads the bundle that ``config.model.bundle`` names and wires a pipeline.

    Args:
        config: All settings.
        embedder: In step with the frames, or `semla_ros.pipeline.embedding.Beside` them.

    Raises:
        BundleError: No such bundle, or one with missing or unfit weights.
        AdapterError: No adapter of its library fits.
        ConfigError: ``model.device`` is cuda and there is none.
    """
    torch.set_num_threads(config.model.threads or ALL_THREADS)
    device = choose_device(config.model.device)
    bundle = Bundle.open(find_bundle(config.model.bundle))
    network = bundle.load_network().to(device, precision_on(device, config.model.precision))
    if config.model.compile:
        network.compile()  # adapters change weights in place, so that what was compiled stays valid
    make, asked = _segmenter_of(bundle, config.model.official_compat), config.segmenter
    segmenter = make(network, asked.classes or bundle.classes, asked.prompt_templates, asked.memory_mib)
    navigator = bundle.load_navigator()
    navigator.network.to(device)
    return SemlaPipeline(bundle, segmenter, embedder(navigator), config)


def _segmenter_of(bundle: Bundle, official_compat: bool) -> MakeSegmenter:
    kind = segmenter_kind(bundle.segmenter.kind)
    if not official_compat:
        return kind.segmenter
    if kind.official_compat is None:
        raise ConfigError("no published code to be compatible with", where="model.official_compat", got=bundle.path)
    return kind.official_compat


def choose_device(name: str) -> torch.device:
    """``auto`` takes CUDA where there is one, and says so where there is none.

    Raises:
        ConfigError: CUDA is asked for and missing.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        LOG.warning("no CUDA device: running on the CPU (model.device: cpu silences this)")
        return torch.device("cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device", where="model.device", got="cuda", expected="auto or cpu on this machine")
    return torch.device(name)


def precision_on(device: torch.device, name: str) -> torch.dtype:
    """The dtype of that name; says so where a device is known to be slow with it."""
    if name == "float16" and device.type == "cpu":
        LOG.warning("float16 is slow on a CPU (model.precision: bfloat16 is the faster half)")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
