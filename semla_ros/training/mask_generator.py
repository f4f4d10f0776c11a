"""`semla train masks`: trains a small Mask2Former, whose masks FISA classifies, on panoptic ground truth."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerForUniversalSegmentation, Mask2FormerImageProcessor

from semla_ros.evaluation.coco_panoptic import CocoPanoptic
from semla_ros.images.classes import UNLABELLED
from semla_ros.images.panoptic import INSTANCE
from semla_ros.modeling.fisa.generator import MEAN, STD, quiet_transformers
from semla_ros.training.adapter_place import AdapterPlace
from semla_ros.training.device import accelerator_on
from semla_ros.training.images import Images
from semla_ros.training.loop import fit
from semla_ros.training.schedule import Schedule

SIZE = 192, 320  # height and width of the images, pixels: sides are multiples of 32
LABEL_SIZE = 96, 160
SCHEDULE = Schedule(steps=3000, batch=8, lr=5e-4, warmup=200)


def small_config(classes: Sequence[str]) -> Mask2FormerConfig:
    """Sizes of a mask generator with 4 million parameters, 2.8 million of them in its backbone, a ResNet.

    Args:
        classes: Names of the classes. FISA ignores them; they help to find masks.
    """
    backbone = {
        "model_type": "resnet", "embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2],
        "layer_type": "basic", "out_features": ["stage1", "stage2", "stage3", "stage4"],
    }  # fmt: skip
    return Mask2FormerConfig(
        backbone_config=backbone, feature_size=128, mask_feature_size=128, hidden_dim=128, num_attention_heads=4,
        encoder_layers=1, encoder_feedforward_dim=256, decoder_layers=4, dim_feedforward=512, num_queries=50,
        train_num_points=1024, id2label=dict(enumerate(classes)), label2id={name: i for i, name in enumerate(classes)},
    )  # fmt: skip


class MaskLoss(nn.Module):
    """The loss of Mask2Former: each true segment is matched with one query, which learns its class and its mask.

    Args:
        model: Mask2Former to train.
        things: Whether each class is a thing, which has instances.
    """

    def __init__(self, model: Mask2FormerForUniversalSegmentation, things: Sequence[bool]) -> None:
        super().__init__()
        self.model: Any = model
        self.things = tuple(things)

    def forward(self, images: Tensor, labels: Tensor, seed: Tensor) -> Tensor:
        """Computes the mean loss of a batch, a scalar.

        Args:
            images: (B, H, W, 3) uint8, RGB.
            labels: Class id + 256 * instance, (B, h, w) int64; 255 is unlabelled. Things without an instance are
                crowds.
            seed: Seed of the points at which masks are compared, an int64 scalar.
        """
        out = self.model(pixels(images), output_auxiliary_logits=True)
        auxiliary = [{name: value.float() for name, value in each.items()} for each in out.auxiliary_logits]
        masks, classes = zip(*(segments(each, self.things) for each in labels), strict=True)
        with torch.random.fork_rng(), torch.autocast(images.device.type, enabled=False):
            torch.manual_seed(int(seed))
            final = out.masks_queries_logits.float(), out.class_queries_logits.float()
            targets: Any = (list(masks), list(classes), auxiliary)  # transformers declares other types than it takes
            losses: dict[str, Tensor] = self.model.get_loss_dict(*final, *targets)
        return torch.stack([*losses.values()]).sum()


def pixels(images: Tensor) -> Tensor:
    """Normalises images (B, H, W, 3) uint8 to (B, 3, H, W) float32, as Mask2Former takes them."""
    mean, std = (torch.tensor(values, device=images.device) for values in (MEAN, STD))
    return ((images - mean) / std).permute(0, 3, 1, 2)


def segments(labels: Tensor, things: Sequence[bool]) -> tuple[Tensor, Tensor]:
    """Splits a label map (H, W) into the masks of its n segments, (n, H, W) float32, and their classes, (n,) int64.

    Unlabelled pixels and crowds belong to no segment.
    """
    left_out = [UNLABELLED, *(index for index, thing in enumerate(things) if thing)]
    ids = labels.unique()
    ids = ids[~torch.isin(ids, torch.tensor(left_out, device=ids.device))]
    return (labels == ids[:, None, None]).float(), ids % INSTANCE


def train_masks(images: Path, annotations: Path, out: Path, schedule: Schedule = SCHEDULE, seed: int = 0) -> int:
    """Trains a mask generator and writes it as transformers does; one that was interrupted continues.

    Args:
        images: Folder of the images.
        annotations: JSON file in the panoptic format of COCO, see `semla_ros.evaluation.coco_panoptic`.
        out: New folder of the generator: config.json, preprocessor_config.json, model.safetensors and the losses,
            training.csv.
        schedule: Number of steps and learning rates.
        seed: Seed of the initial weights and of the batches.

    Returns:
        Number of training images.

    Raises:
        RecordingError: The data set is not in this format, or incomplete.
        TrainingError: The folder exists; or checkpoint or log is damaged, belongs to another training, or cannot be
            written.
    """
    place, accelerator = AdapterPlace(out, noun="mask generator"), accelerator_on()
    dataset = CocoPanoptic(images, annotations)
    if accelerator.is_main_process:
        data = {"images": images, "annotations": annotations, "found": len(dataset)}
        place.claim(data | asdict(schedule) | {"seed": seed})
    accelerator.wait_for_everyone()
    samples = Images.read(dataset, SIZE, LABEL_SIZE, with_instances=True)
    torch.manual_seed(seed)
    with quiet_transformers():
        loss = MaskLoss(Mask2FormerForUniversalSegmentation(small_config(dataset.classes)), dataset.things)

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, ...]:
        rgb, labels, _ = samples.draw(schedule.batch, generator, share)
        return rgb, labels, torch.randint(2**62, (), generator=generator)

    fit("masks", loss.train(), draw, schedule, place.work, seed, accelerator)
    if accelerator.is_main_process:
        with place.filled() as folder, quiet_transformers():
            loss.model.save_pretrained(folder)
            shutil.copymode(folder / "config.json", folder / "model.safetensors")  # else the owner's alone
            size = {"shortest_edge": min(SIZE), "longest_edge": max(SIZE)}
            Mask2FormerImageProcessor(size=size).save_pretrained(folder)
            shutil.copy(place.work / "masks.csv", folder / "training.csv")
    accelerator.wait_for_everyone()
    return len(samples)
