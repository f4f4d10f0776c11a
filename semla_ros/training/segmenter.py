"""Trains CAT-Seg, whole on one domain or only adapters on another."""

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

# What else a class may be called: a prompt drawn among these keeps the vocabulary open.
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
    """Tokens of every way to ask for each class."""

    def __init__(self, classes: tuple[str, ...], context_length: int) -> None:
        ways = [[TEMPLATE.format(word) for word in SYNONYMS.get(name, (name,))] for name in classes]
        self._tokens = [tokenize(prompts, context_length) for prompts in ways]

    def draw(self, generator: torch.Generator) -> Tensor:
        """One way a class, (T, context_length)."""
        return torch.stack([t[int(torch.randint(len(t), (), generator=generator))] for t in self._tokens])


def segmentation_loss(network: CatSeg, tokens: Tensor, pixels: Tensor, labels: Tensor) -> Tensor:
    """Binary cross-entropy of every class for itself (CAT-Seg), unlabelled pixels left out."""
    device = network.upsample1.weight.device
    tokens, pixels, labels = tokens.to(device), pixels.to(device), labels.to(device)
    logits = network(pixels, network.clip.encode_text(tokens))
    logits = F.interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False)
    valid = labels != 255
    targets = F.one_hot(labels.where(valid, 0), len(tokens)).permute(0, 3, 1, 2).to(logits)
    return F.binary_cross_entropy_with_logits(logits, targets, valid[:, None].to(logits).expand_as(logits))


def backbone(arch: CatSegArch, clip: Mapping[str, Tensor]) -> CatSeg:
    """A CAT-Seg whose CLIP is an open_clip model's state dict and whose rest is new."""
    network = CatSeg(arch)
    state = clip_state({key: value for key, value in clip.items() if key != "logit_scale"})
    network.clip.load_state_dict({key: state[key] for key in network.clip.state_dict()})
    return network


def train_segmenter(
    network: CatSeg, classes: tuple[str, ...], images: Images, schedule: Schedule, folder: Path, seed: int
) -> None:
    """Trains all of CAT-Seg but the token embedding, in place."""
    network.clip.token_embedding.requires_grad_(False)
    prompts = Prompts(classes, network.arch.context_length)

    def loss(draw: torch.Generator) -> Tensor:
        pixels, labels, _ = images.batch(schedule.batch, draw)
        return segmentation_loss(network, prompts.draw(draw), pixels, labels)

    fit("segmenter", network.train(), loss, schedule, folder, seed)
    network.eval()


def train_adapter(
    name: str, network: CatSeg, classes: tuple[str, ...], images: Images, schedule: Schedule, folder: Path,
    seed: int, rank: int = 8, alpha: float = 16,
) -> Adapter:  # fmt: skip
    """Trains a LoRA adapter for one domain; the network is left as it was."""
    layers = network.adapted_layers()
    network.requires_grad_(False)
    torch.manual_seed(seed)
    low_rank = attach(layers, rank, alpha)
    prompts = Prompts(classes, network.arch.context_length)

    def loss(draw: torch.Generator) -> Tensor:
        pixels, labels, _ = images.batch(schedule.batch, draw)
        return segmentation_loss(network, prompts.draw(draw), pixels, labels)

    fit(name, nn.ModuleList(low_rank.values()), loss, schedule, folder, seed)
    factors = {
        key: (module.a.detach().cpu().clone(), module.b.detach().cpu().clone()) for key, module in low_rank.items()
    }
    detach(layers)
    return Adapter(name, factors, alpha / rank)
