"""Builds a pipeline: the only place that wires the stages together."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np
import torch

from semla_ros.config import Config
from semla_ros.errors import ConfigError
from semla_ros.library.bundle import Bundle, find_bundle
from semla_ros.modeling.base import MakeSegmenter, Navigator, segmenter_kind
from semla_ros.modeling.threads import ThreadChooser, halvings
from semla_ros.pipeline.embedding import AsynchronousEmbedder, Embedder, SynchronousEmbedder
from semla_ros.pipeline.gap_recorder import GapRecorder
from semla_ros.pipeline.pipeline import SemlaPipeline

LOG = logging.getLogger(__name__)
EMPTY_SIZE = 480, 640  # pixels
ALL_THREADS = torch.get_num_threads()  # read before any thread of a navigator reduces it


def build_pipeline(config: Config, embedder: Callable[[Navigator], Embedder] = SynchronousEmbedder) -> SemlaPipeline:
    """Loads the bundle that ``config.model.bundle`` names and builds a pipeline from it.

    Args:
        config: All settings.
        embedder: Navigator to embedder: `semla_ros.pipeline.embedding.SynchronousEmbedder` gives the same swaps every
            time, `semla_ros.pipeline.embedding.AsynchronousEmbedder` lets no frame wait.

    Raises:
        BundleError: There is no such bundle, or its weights are missing or do not fit its description.
        AdapterError: The bundle has no adapter library, or none of its adapters fits the segmenter.
        ConfigError: ``model.device`` is cuda, but there is no CUDA device.
    """
    torch.set_num_threads(config.model.threads or ALL_THREADS)
    device = choose_device(config.model.device)
    bundle = Bundle.open(find_bundle(config.model.bundle))
    network = bundle.load_network().to(device, precision_on(device, config.model.precision))
    if config.model.compile:
        network.compile()  # adapters change the weights in place, so that the compiled code stays valid
    make, wanted = _segmenter_of(bundle, config.model.official_compat), config.segmenter
    segmenter = make(network, wanted.classes or bundle.classes, wanted.prompt_templates, wanted.memory_mib)
    pipeline = SemlaPipeline(bundle, segmenter, embedder(_navigator(bundle, device)), config)
    pipeline.gaps = GapRecorder(config.gaps) if config.gaps.folder else None
    return pipeline


def build_navigator(config: Config) -> Navigator:
    """Loads the navigator of the bundle that ``config.model.bundle`` names, without the segmenter.

    Raises:
        BundleError: There is no such bundle, or its weights are missing or do not fit its description.
        ConfigError: ``model.device`` is cuda, but there is no CUDA device.
    """
    return _navigator(Bundle.open(find_bundle(config.model.bundle)), choose_device(config.model.device))


def _navigator(bundle: Bundle, device: torch.device) -> Navigator:
    navigator = bundle.load_navigator()
    navigator.network.to(device)
    return navigator


def build_live_pipeline(config: Config) -> SemlaPipeline:
    """Builds a pipeline for a live camera. Arguments and errors are those of `build_pipeline`.

    The navigator has a thread of its own. On the CPU the number of threads follows the time that frames take, unless
    ``model.threads`` sets it; the last digits of confidences depend on that number. The models have computed once, so
    that the camera's first frame is not late.
    """
    pipeline = build_pipeline(config, lambda navigator: AsynchronousEmbedder(navigator, config.navigator.max_share))
    if pipeline.segmenter.device.type == "cpu" and not config.model.threads:
        pipeline.threads = ThreadChooser(halvings(ALL_THREADS))
    _warm_up(pipeline)
    return pipeline


def _warm_up(pipeline: SemlaPipeline) -> None:
    """Embeds and segments an empty image: what is done only once (threads, buffers, compiled code) is done now."""
    empty = np.zeros((*EMPTY_SIZE, 3), np.uint8)
    for compute in (pipeline.navigator.embed, pipeline.segment_instances):
        try:
            compute(empty)
        except Exception as error:  # the frames of the camera may be fine, and report their own errors
            LOG.warning("the models could not compute an empty image: %s", error)
    pipeline.adapted.memory.restore()  # the frames may be smaller


def _segmenter_of(bundle: Bundle, official_compat: bool) -> MakeSegmenter:
    kind = segmenter_kind(bundle.segmenter.kind)
    if not official_compat:
        return kind.segmenter
    if kind.official_compat is None:
        raise ConfigError(
            "this kind of segmenter has no published code to reproduce", where="model.official_compat",
            got=f"segmenter.kind {bundle.segmenter.kind} in {bundle.path}", expected="false",
        )  # fmt: skip
    return kind.official_compat


def choose_device(name: str) -> torch.device:
    """Returns the device of that name; ``auto`` is CUDA if available, else the CPU, with a warning.

    Raises:
        ConfigError: The name is cuda, but there is no CUDA device.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        LOG.warning("no CUDA device: running on the CPU")
        return torch.device("cpu")
    if name == "cuda" and not torch.cuda.is_available():
        raise ConfigError("no CUDA device", where="model.device", got="cuda", expected="auto or cpu on this machine")
    return torch.device(name)


def precision_on(device: torch.device, name: str) -> torch.dtype:
    """Returns the floating-point type of that name, with a warning if it is slow on the device."""
    if name == "float16" and device.type == "cpu":
        LOG.warning("float16 is slow on a CPU (bfloat16 is the faster 16-bit type: model.precision)")
    dtype: torch.dtype = getattr(torch, name)
    return dtype
