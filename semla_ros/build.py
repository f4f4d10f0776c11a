"""The only place that wires the stages together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch

from semla_ros.bundle import Bundle, find_bundle
from semla_ros.config import Config
from semla_ros.embedder import Embedder, InStep
from semla_ros.errors import ConfigError
from semla_ros.modeling.navigator import Navigator
from semla_ros.modeling.official import OfficialSegmenter
from semla_ros.modeling.segmenter import Segmenter
from semla_ros.pipeline import SemlaPipeline

LOG = logging.getLogger(__name__)
ALL_THREADS = torch.get_num_threads()  # before a navigator's thread takes less


def build_pipeline(config: Config, embedder: Callable[[Navigator], Embedder] = InStep) -> SemlaPipeline:
    """Loads the bundle that ``config.model.bundle`` names and wires a pipeline.

    Args:
        config: All settings.
        embedder: In step with the frames, or `semla_ros.embedder.Beside` them.

    Raises:
        BundleError: No such bundle, or one with missing or unfit weights.
        AdapterError: No adapter of its library fits.
        ConfigError: ``model.device`` is cuda and there is none.
    """
    torch.set_num_threads(config.model.threads or ALL_THREADS)
    device = choose_device(config.model.device)
    bundle = Bundle.open(find_bundle(config.model.bundle))
    network = bundle.load_segmenter().to(device, precision_on(device, config.model.precision))
    if config.model.compile:
        network.compile()  # adapters change weights in place, so that what was compiled stays valid
    kind, asked = (OfficialSegmenter if config.model.official_compat else Segmenter), config.segmenter
    segmenter = kind(network, asked.classes or bundle.classes, asked.wording, asked.memory_mib)
    navigator = bundle.load_navigator()
    navigator.visual.to(device)
    return SemlaPipeline(bundle, segmenter, embedder(navigator), config)


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
