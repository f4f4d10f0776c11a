"""Trains CAT-Seg: the whole network on one domain, or a LoRA adapter for another domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from semla_ros.modeling.catseg.architecture import CatSegArch
from semla_ros.modeling.catseg.network import CatSeg
from semla_ros.modeling.clip.prompts import TEMPLATE
from semla_ros.modeling.clip.state import clip_state
from semla_ros.modeling.clip.tokenizer import tokenize
from semla_ros.modeling.lora import Adapter, attach, detach
from semla_ros.training.data import Images
from semla_ros.training.loop import Schedule, fit

# Names of each class. Each step draws one of them for the prompt, which keeps the vocabulary open.
SYNONYMS = {
    "road": ("road", "street", "asphalt"),
    "sidewalk": ("sidewalk", "pavement", "walkway"),
    "building": ("building", "house"),
    "wall": ("wall", "brick wall"),
    "fence": ("fence", "railing"),
    "pole": ("pole", "post"),
    "traffic light": ("traffic light", "signal light"),
    "traffic sign": ("traffic sign", "road sign"),
    "vegetation": ("vegetation", "tree", "bush"),
    "sky": ("sky",),
    "person": ("person", "pedestrian", "walker"),
    "car": ("car", "automobile", "vehicle"),
}


class Prompts:
    """Tokens of the prompts with all synonyms of each class.

    Args:
        classes: Names of the T classes.
        context_length: Number of tokens per prompt.
    """

    def __init__(self, classes: tuple[str, ...], context_length: int) -> None:
        prompts = [[TEMPLATE.format(name) for name in SYNONYMS.get(each, (each,))] for each in classes]
        self._tokens = [tokenize(synonyms, context_length) for synonyms in prompts]

    def draw(self, generator: torch.Generator) -> Tensor:
        """Draws one synonym per class; returns tokens (T, context_length) int64."""
        return torch.stack([t[int(torch.randint(len(t), (), generator=generator))] for t in self._tokens])


def segmentation_loss(network: CatSeg, tokens: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy per class and pixel, as in CAT-Seg.

    Args:
        network: Segmenter.
        tokens: Tokens of one prompt per class, (T, context_length) int64.
        pixels: Normalised images, (B, 3, S, S) float32.
        labels: Class ids, (B, s, s) int64; 255 is unlabelled and does not contribute.

    Returns:
        Mean loss, a scalar.
    """
    device = network.upsample1.weight.device
    tokens, pixels, labels = tokens.to(device), pixels.to(device), labels.to(device)
    logits = network(pixels, network.clip.encode_text(tokens))
    logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    valid = labels != 255
    targets = F.one_hot(labels.where(valid, 0), len(tokens)).permute(0, 3, 1, 2).to(logits)
    return F.binary_cross_entropy_with_logits(logits, targets, valid[:, None].to(logits).expand_as(logits))


def backbone(arch: CatSegArch, clip: Mapping[str, Tensor]) -> CatSeg:
    """A CAT-Seg with a pretrained CLIP and otherwise new weights.

    Args:
        arch: Sizes of the network.
        clip: State dict of an open_clip model.
    """
    network = CatSeg(arch)
    state = clip_state({key: value for key, value in clip.items() if key != "logit_scale"})
    network.clip.load_state_dict({key: state[key] for key in network.clip.state_dict()})
    return network


def train_segmenter(
    network: CatSeg, classes: tuple[str, ...], images: Images, schedule: Schedule, folder: Path, seed: int
) -> None:
    """Trains all weights of CAT-Seg in place, except the token embedding.

    Args:
        network: Segmenter to train.
        classes: Names of the classes, in the order of the label ids.
        images: Training images.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the batches and prompts.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    network.clip.token_embedding.requires_grad_(False)
    prompts = Prompts(classes, network.arch.context_length)

    def loss(generator: torch.Generator) -> Tensor:
        pixels, labels, _ = images.batch(schedule.batch, generator)
        return segmentation_loss(network, prompts.draw(generator), pixels, labels)

    fit("segmenter", network.train(), loss, schedule, folder, seed)
    network.eval()


def train_adapter(
    name: str, network: CatSeg, classes: tuple[str, ...], images: Images, schedule: Schedule, folder: Path,
    seed: int, rank: int = 8, alpha: float = 16,
) -> Adapter:  # fmt: skip
    """Trains a LoRA adapter for one domain. The weights of the network do not change.

    Args:
        name: Name of the adapter, of its checkpoint and of its log.
        network: Segmenter that the adapter is for.
        classes: Names of the classes, in the order of the label ids.
        images: Training images of the domain.
        schedule: Number of steps and learning rates.
        folder: Folder of checkpoint and log; an interrupted training continues from there.
        seed: Seed of the initial factors, the batches and the prompts.
        rank: Rank r of the adapter.
        alpha: LoRA scaling numerator; the scale is alpha / r.

    Returns:
        The trained adapter, on the CPU.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written.
    """
    layers = network.adapted_layers()
    network.requires_grad_(False)
    torch.manual_seed(seed)
    low_rank = attach(layers, rank, alpha)
    prompts = Prompts(classes, network.arch.context_length)

    def loss(generator: torch.Generator) -> Tensor:
        pixels, labels, _ = images.batch(schedule.batch, generator)
        return segmentation_loss(network, prompts.draw(generator), pixels, labels)

    fit(name, nn.ModuleList(low_rank.values()), loss, schedule, folder, seed)
    factors = {
        key: (module.a.detach().cpu().clone(), module.b.detach().cpu().clone()) for key, module in low_rank.items()
    }
    detach(layers)
    return Adapter(name, factors, alpha / rank)
