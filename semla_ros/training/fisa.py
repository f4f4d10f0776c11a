"""`semla train fisa`: trains SEVE and what else is asked for on panoptic ground truth."""

from __future__ import annotations

import shutil
from dataclasses import asdict, dataclass, field, replace
from itertools import compress
from operator import not_
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from semla_ros.errors import TrainingError
from semla_ros.evaluation.coco_panoptic import CocoPanoptic
from semla_ros.library.bundle import ADAPTERS, Bundle, find_bundle
from semla_ros.library.captions import copy_captions
from semla_ros.modeling.fisa.architecture import FisaArch
from semla_ros.modeling.fisa.loss import FisaLoss
from semla_ros.modeling.fisa.network import Fisa
from semla_ros.modeling.fisa.simo import TRAINED, Parameters
from semla_ros.training.adapter_place import AdapterPlace
from semla_ros.training.device import accelerator_on
from semla_ros.training.loop import fit
from semla_ros.training.panoptic_samples import PanopticSamples
from semla_ros.training.schedule import Schedule

SMALL_NETWORK = 50_000_000  # parameters
VOID = "nothing"
PAPER = Schedule(25_000, 16, 1e-4, warmup=0, weight_decay=0.05, decay="poly")


@dataclass(frozen=True)
class FisaPreset:
    """Settings of a training.

    Attributes:
        schedule: Number of steps, batch size and learning rates.
        clip_rate: Learning rate of CLIP's parameters, as a share of that of SEVE.
        jitter: Smallest and largest scale of large-scale jittering.
        crop: Side of the square crops, pixels; 0 takes the size of the mask generator's input.
    """

    schedule: Schedule
    clip_rate: float = 0.1
    jitter: tuple[float, float] = (1.0, 1.0)
    crop: int = 0

    def changed(self, steps: int = 0, batch: int = 0, lr: float = 0) -> FisaPreset:
        """Returns the settings with another schedule, see `Schedule.changed`."""
        return replace(self, schedule=self.schedule.changed(steps, batch, lr))


PRESETS = {
    "small": FisaPreset(Schedule(1500, 8, 1e-3, warmup=50), clip_rate=0.3, jitter=(1.0, 1.5)),
    "paper": FisaPreset(PAPER, jitter=(0.1, 2.0), crop=1024),
    "ablation": FisaPreset(replace(PAPER, steps=10_000), jitter=(0.1, 2.0), crop=1024),
}


@dataclass(frozen=True)
class FisaTask:
    """What is trained, and how.

    Attributes:
        images: Folder of the images.
        annotations: JSON file in the panoptic format of COCO, see `CocoPanoptic`.
        out: Folder of the bundle, which must not exist.
        bundle: Path or name of the bundle to begin with, of kind fisa: its mask generator, CLIP and navigator are used.
        trained: What is trained, see `semla_ros.modeling.fisa.simo.TRAINED`.
        preset: Name of the settings in `PRESETS`; empty for the one that fits the size of the network.
        changes: Settings that differ from the preset, see `FisaPreset.changed`.
        fields: Fields of the architecture that differ from those of the bundle, such as ``adapter_layers``.
        seed: Seed of SEVE's first weights, of the batches and of the prompts.
        device: "auto", "cpu" or "cuda".
    """

    images: Path
    annotations: Path
    out: Path
    bundle: str
    trained: str = "simo"
    preset: str = ""
    changes: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    device: str = "auto"


def train_fisa(task: FisaTask) -> int:
    """Trains a bundle; one that was interrupted continues when it is called again with the same task.

    Returns:
        Number of images in the data set.

    Raises:
        BundleError: There is no such bundle, or it is damaged.
        RecordingError: The data set is not in this format, or incomplete.
        TrainingError: ``out`` exists, or the bundle is of another kind; or checkpoint or log is damaged, belongs to
            another training, or cannot be written.
    """
    # 1. The place, the bundle and the data.
    place, accelerator = AdapterPlace(task.out, noun="bundle"), accelerator_on(task.device)
    base, dataset = Bundle.open(find_bundle(task.bundle)), CocoPanoptic(task.images, task.annotations)
    network = _begun(base, task, dataset)
    small = sum(parameter.numel() for parameter in network.parameters()) < SMALL_NETWORK
    preset = PRESETS[task.preset or ("small" if small else "paper")].changed(**task.changes)
    if accelerator.is_main_process:
        place.claim({**asdict(task), "device": None, "changes": None, **asdict(preset), "found": len(dataset)})
    accelerator.wait_for_everyone()
    # 2. What is trained, at its learning rates.
    trained = TRAINED[task.trained](network)
    network.requires_grad_(False)
    for parameter in trained.values():
        parameter.requires_grad_(True)
    loss = FisaLoss(network, dataset.classes)
    if preset.crop:
        loss.image_size, loss.label_size = (preset.crop, preset.crop), (preset.crop // 2, preset.crop // 2)
    samples = PanopticSamples(dataset, loss.image_size, loss.label_size, preset.jitter)

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, ...]:
        return *samples.draw(preset.schedule.batch, generator, share), loss.draw_prompts(generator)

    # 3. Training, and the new bundle.
    network.to(accelerator.device)
    rates, schedule = _groups(trained, preset), preset.schedule
    fit("fisa", loss.train(), draw, schedule, place.work, task.seed, accelerator, rates)
    if accelerator.is_main_process:
        with place.filled() as folder:
            new = replace(base, path=folder, segmenter=network.arch, classes=dataset.classes)
            _write(new, base, network, task, preset, place.work / "fisa.csv")
    accelerator.wait_for_everyone()
    return len(dataset)


def _begun(base: Bundle, task: FisaTask, dataset: CocoPanoptic) -> Fisa:
    """A FISA with the mask generator and the CLIP of a bundle, and a new SEVE in all layers."""
    arch = base.segmenter
    if not isinstance(arch, FisaArch):
        hint = "semla models import --kind fisa makes one of a mask generator and a CLIP."
        raise TrainingError("not a FISA bundle", where=base.path, got=arch.kind, expected=FisaArch.kind, hint=hint)
    given: Any = base.load_network()
    things, stuff = (tuple(compress(dataset.classes, of)) for of in (dataset.things, map(not_, dataset.things)))
    layers = tuple(range(arch.vision_layers))
    new: dict[str, Any] = {"seve_layers": layers, "void": VOID, "things": things, "stuff": stuff}
    torch.manual_seed(task.seed)
    network = Fisa(replace(arch, **(new | task.fields)))
    network.generator.load_state_dict(given.generator.state_dict())
    network.clip.load_state_dict(given.clip.state_dict())
    return network


def _groups(trained: Parameters, preset: FisaPreset) -> list[dict[str, Any]]:
    """Parameter groups of the optimiser: SEVE, and CLIP at a share of its learning rate."""
    parts: tuple[list[nn.Parameter], list[nn.Parameter]] = [], []
    for name, parameter in trained.items():
        parts[name.startswith("clip.")].append(parameter)
    lr = preset.schedule.lr
    rates = zip(parts, (lr, preset.clip_rate * lr), strict=True)
    return [{"params": parameters, "lr": rate} for parameters, rate in rates if parameters]


def _write(bundle: Bundle, base: Bundle, network: Fisa, task: FisaTask, preset: FisaPreset, log: Path) -> None:
    """Writes the bundle with an empty library of adapters, a card, and the log of the losses."""
    about = f"FISA, trained on {task.annotations.absolute().parent.name}: {task.trained}."
    shutil.copy(log, bundle.path / "training.csv")  # like the captions before the manifest, which lists them
    copy_captions(base.path, bundle.path)
    replace(bundle, about=about).save(network, base.load_navigator().network)
    (bundle.path / ADAPTERS).mkdir()
    schedule = preset.schedule
    card = (
        f"# {task.out.name}\n\n{about} It began with the mask generator and the CLIP of {base.path.name}.\n"
        f"Written by `semla train fisa` with seed {task.seed}: {schedule.steps} steps of {schedule.batch} images, base "
        f"learning rate {schedule.lr:g}, {preset.clip_rate:g} of it for CLIP. The losses are in training.csv.\n"
    )
    (bundle.path / "README.md").write_text(card)
