"""Interfaces of segmenters and navigators, and the registry of their kinds.

To add a segmenter, write a folder whose module defines ``KIND``, a `SegmenterKind`, and add one line to `SEGMENTERS`.
To add a navigator, write a file that defines ``KIND``, a `NavigatorKind`, and add one line to `NAVIGATORS`. The rest of
the project uses these interfaces only; ``test/other_kinds`` has an example of each.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import Self

from semla_ros.errors import BundleError

Size = tuple[int, int]  # height and width
Mode = Literal["plain", "sliding"]
PromptTemplates = Literal["official", "synonyms", "imagenet"]
UNDEFINED = -1  # label of a pixel for which the network computed NaN or infinity

# ``kind`` in bundle.yaml to the module that defines KIND. It is imported when a bundle names the kind.
SEGMENTERS = {"catseg": "semla_ros.modeling.catseg", "fisa": "semla_ros.modeling.fisa"}
NAVIGATORS = {"clip": "semla_ros.modeling.navigators.clip"}
DEFAULT_SEGMENTER, DEFAULT_NAVIGATOR = "catseg", "clip"


@dataclass(frozen=True)
class Architecture:
    """Sizes of a network: the fields of a frozen dataclass, all of them plain values.

    Attributes:
        kind: Name of its kind in `SEGMENTERS` or `NAVIGATORS`.
    """

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Returns kind and sizes as plain values, to be written to bundle.yaml."""
        sizes = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}
        return {"kind": self.kind, **sizes}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Reads the values that `to_dict` returned.

        Raises:
            BundleError: A size is missing or unknown.
        """
        sizes: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in values.items() if key != "kind"
        }
        try:
            return cls(**sizes)
        except TypeError as error:
            raise BundleError(
                "architecture does not fit", where=cls.__name__, got=sorted(map(str, values)), hint=str(error)
            ) from error


class Segmenter(Protocol):
    """An open-vocabulary segmenter whose linear layers adapters can change.

    Attributes:
        classes: Class names, synonyms after commas ("car, automobile").
        memory_mib: Memory limit for the activations that are computed in one batch, MiB. It is lowered when memory has
            run out, and applies from the next image on.
    """

    classes: tuple[str, ...]
    memory_mib: int

    @property
    def network(self) -> nn.Module:
        """The network. `semla_ros.modeling.lora.LoraFuser` changes its weights in place."""

    @property
    def device(self) -> torch.device:
        """Device that the network computes on."""

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type that the network computes in."""

    def adapted_layers(self) -> dict[str, nn.Linear]:
        """Returns the linear layers that adapters change, by module name.

        Layers of `network` that have no effect on the output may be left out; adapters for them are then ignored.
        """

    def set_classes(self, classes: Sequence[str], prompt_templates: PromptTemplates = "official") -> None:
        """Segments into other classes from now on. If this fails, the previous classes stay in force.

        Args:
            classes: Class names, at least one; synonyms after commas.
            prompt_templates: Texts that the text encoder is given per class.

        Raises:
            ConfigError: There are no classes.
        """

    def refresh_text(self) -> None:
        """Encodes the classes again. Required after every change of weights: adapters change the text encoder, too.

        If this fails, the previous text embeddings stay in force.
        """

    def segment(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Finds the most probable class of every pixel.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            mode: One pass ("plain"), or CAT-Seg's sliding window ("sliding").
            size: Height and width of the result; by default those of the image.

        Returns:
            Class indices (h, w) int64 and their probabilities (h, w) float32, 0 to 1. Pixels for which the network
            computed NaN or infinity have the index `UNDEFINED` and probability 0.
        """


@dataclass(frozen=True)
class Instances:
    """What a panoptic segmenter finds in an image.

    Attributes:
        labels: Class indices (h, w) int64, as `Segmenter.segment` returns them.
        confidence: Probabilities (h, w) float32, as `Segmenter.segment` returns them.
        instances: Instance of each pixel, (h, w) int64: 1 to n, numbered per frame; 0 where there is none. Only the
            classes that are things have instances.
        panoptic: Class index of the segment of each pixel, (h, w) int64; `UNDEFINED` where no segment is certain
            enough. All pixels of an instance have the same. It may differ from ``labels``, which are decided per pixel.
    """

    labels: NDArray[np.int64]
    confidence: NDArray[np.float32]
    instances: NDArray[np.int64]
    panoptic: NDArray[np.int64]


@runtime_checkable
class BatchSegmenter(Segmenter, Protocol):
    """A segmenter that segments several images in one pass of the network, faster than one after the other."""

    def segment_together(
        self, images: Sequence[NDArray[np.uint8]], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Returns what `Segmenter.segment` returns for each image, but for rounding.

        Args:
            images: Images (H, W, 3) uint8, RGB, of any sizes.
            mode: As for `Segmenter.segment`.
            size: Height and width of all results; by default those of each image.
        """


@runtime_checkable
class PanopticSegmenter(Segmenter, Protocol):
    """A segmenter that also tells objects of one class apart."""

    @property
    def things(self) -> tuple[bool, ...]:
        """Whether each class is a thing, which has instances, in the order of ``classes``."""

    def segment_instances(
        self, rgb: NDArray[np.uint8], mode: Mode = "plain", size: tuple[int, int] | None = None
    ) -> Instances:
        """Finds classes and instances in one pass.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            mode: As for `Segmenter.segment`.
            size: Height and width of the result; by default those of the image.
        """


@runtime_checkable
class MaskClassifier(PanopticSegmenter, Protocol):
    """A panoptic segmenter that classifies the masks of a generator. It can be given other masks, or other classes."""

    def classified(self, rgb: NDArray[np.uint8], proposals: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Classifies masks of an image.

        Args:
            rgb: Image (H, W, 3) uint8, RGB.
            proposals: Logits of m masks, (m, h, w); by default those of the generator.

        Returns:
            Logits of the T classes, or of void besides, (m, T or T + 1), and of the masks as the segmenter adjusts
            them, (m, h, w); both float32.
        """

    def merged(self, scores: Tensor, masks: Tensor, size: tuple[int, int]) -> Instances:
        """Merges classified masks, see `classified`, to maps of a size (height, width)."""


class Navigator(Protocol):
    """An image encoder whose embeddings differ between domains and are similar within one domain."""

    @property
    def network(self) -> nn.Module:
        """The image encoder."""

    @property
    def embed_dim(self) -> int:
        """Dimension D of the embeddings."""

    def embed(self, rgb: NDArray[np.uint8]) -> NDArray[np.float64]:
        """Returns the unnormalised embedding (D,) of an image (H, W, 3) uint8, RGB."""


class TrainingLoss(nn.Module, ABC):
    """The loss of a network on labelled images, which a training lowers.

    Args:
        network: Network to train.
        image_size: Side S of the square images, or their height and width, pixels.
        label_size: Side s of the square label maps, or their height and width, pixels.
    """

    def __init__(self, network: nn.Module, image_size: int | Size, label_size: int | Size) -> None:
        super().__init__()
        self.network: Any = network
        self.image_size, self.label_size = image_size, label_size

    @abstractmethod
    def draw_prompts(self, generator: torch.Generator) -> Tensor:
        """Draws the text input of one step, such as the tokens of one synonym per class."""

    @abstractmethod
    def forward(self, images: Tensor, labels: Tensor, prompts: Tensor) -> Tensor:
        """Computes the mean loss of a batch, a scalar.

        Args:
            images: (B, S, S, 3) uint8, RGB.
            labels: Class ids, (B, s, s) int64; 255 is unlabelled and does not contribute.
            prompts: What `draw_prompts` returned.
        """


class MakeSegmenter(Protocol):
    """Builds a segmenter from a network; a class of segmenters fits."""

    def __call__(
        self, network: Any, classes: Sequence[str], prompt_templates: PromptTemplates, memory_mib: int
    ) -> Segmenter:
        """Returns a segmenter.

        Args:
            network: Network of the kind, with its weights.
            classes: Class names, at least one; synonyms after commas.
            prompt_templates: Texts that the text encoder is given per class.
            memory_mib: Memory limit for the activations of images that are computed in one batch, MiB.

        Raises:
            ConfigError: There are no classes.
        """


@dataclass(frozen=True)
class SegmenterKind:
    """Everything that the project needs to know about a kind of segmenter.

    Attributes:
        architecture: Class of its sizes in bundle.yaml.
        network: Called with an architecture; returns an untrained network.
        segmenter: Returns the segmenter of a network, see `MakeSegmenter`.
        official_compat: Like ``segmenter``, with the errors of the published code; None if there is no published code.
        from_published: Called with a published state dict; returns (architecture, our state dict).
        unused_keys: Called with a published state dict; returns the keys that ``from_published`` does not need.
        module_name: Called with a published module name; returns ours. Adapters are published with such names.
        loss: Called with (network, class names); returns the loss that a training lowers. None if this kind cannot be
            trained.
        from_parts: Called with (folder of a published mask generator, published CLIP, side of CLIP's input in pixels);
            returns (architecture, network). None if this kind is not made of a mask generator and a CLIP.
    """

    architecture: type[Architecture]
    network: Callable[[Any], nn.Module]
    segmenter: MakeSegmenter
    official_compat: MakeSegmenter | None
    from_published: Callable[[Mapping[str, Tensor]], tuple[Any, dict[str, Tensor]]]
    unused_keys: Callable[[Mapping[str, Tensor]], list[str]]
    module_name: Callable[[str], str]
    loss: Callable[[Any, Sequence[str]], TrainingLoss] | None = None
    from_parts: Callable[[Path, Any, int], tuple[Any, nn.Module]] | None = None


@dataclass(frozen=True)
class NavigatorKind:
    """Everything that the project needs to know about a kind of navigator.

    Attributes:
        architecture: Class of its sizes and preprocessing in bundle.yaml.
        network: Called with an architecture; returns an untrained image encoder.
        navigator: Called with (network, architecture); returns the navigator.
        from_published: Called with (published state dict, file or model it came from, published name of the model or
            ""); returns (architecture, our state dict).
    """

    architecture: type[Architecture]
    network: Callable[[Any], nn.Module]
    navigator: Callable[[Any, Any], Navigator]
    from_published: Callable[[Mapping[str, Tensor], str, str], tuple[Any, dict[str, Tensor]]]


def segmenter_kind(name: str) -> SegmenterKind:
    """Returns the kind of segmenter that ``kind`` in bundle.yaml names.

    Raises:
        BundleError: There is no such kind.
    """
    kind: SegmenterKind = _kind("segmenter", name, SEGMENTERS)
    return kind


def navigator_kind(name: str) -> NavigatorKind:
    """Returns the kind of navigator that ``kind`` in bundle.yaml names.

    Raises:
        BundleError: There is no such kind.
    """
    kind: NavigatorKind = _kind("navigator", name, NAVIGATORS)
    return kind


def linear_layers(network: nn.Module) -> dict[str, nn.Linear]:
    """Returns all linear layers of a network by module name."""
    return {name: module for name, module in network.named_modules() if isinstance(module, nn.Linear)}


def _kind(what: str, name: str, known: Mapping[str, str]) -> Any:
    if name not in known:
        raise BundleError(f"unknown kind of {what}", where=f"{what}.kind", got=name, expected=" or ".join(known))
    return import_module(known[name]).KIND
