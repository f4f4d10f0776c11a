"""Settings of adapter trainings, named after the data sets that they were published for."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import nn

from semla_ros.errors import TrainingError
from semla_ros.training.schedule import Schedule

SMALL_NETWORK = 50_000_000  # parameters; the smallest published CAT-Seg has three times as many


@dataclass(frozen=True)
class Preset:
    """Settings of a training.

    Attributes:
        about: Where the settings come from, in a few words.
        schedule: Number of steps, batch size and learning rates.
        rank: Rank r of the adapter; for recyclelora, of both adapters together.
        alpha: LoRA is scaled by alpha / r. RecycleLoRA's is 1, as published.
        sub_rank: Rank of the sub adapter, for recyclelora.
        validate_every: Number of steps between two validations.
        patience: The training ends early after so many validations in a row without improvement; those during the
            warm-up do not count. 0 never ends it.
        method: Name of the method that they are for.
    """

    about: str
    schedule: Schedule
    rank: int = 8
    alpha: float = 16.0
    sub_rank: int = 2
    validate_every: int = 75
    patience: int = 8
    method: str = "lora"

    def changed(
        self, steps: int = 0, batch: int = 0, lr: float = 0, rank: int = 0, sub_rank: int = 0,
        patience: int | None = None,
    ) -> Preset:  # fmt: skip
        """Returns the settings with other values; 0 keeps a value, and so does None for ``patience``.

        With another number of steps, the warm-up and the steps between two validations change in proportion.

        Raises:
            TrainingError: The rank of the sub adapter leaves none for the main adapter.
        """
        old, rank = self.schedule, rank or self.rank
        if sub_rank >= rank:
            raise TrainingError(
                "no rank is left for the main adapter", where="--sub-rank", got=sub_rank, expected=f"less than {rank}"
            )
        share = (steps or old.steps) / old.steps
        return replace(
            self, schedule=old.changed(steps, batch, lr), rank=rank, sub_rank=min(sub_rank or self.sub_rank, rank - 1),
            validate_every=max(1, round(self.validate_every * share)),
            patience=self.patience if patience is None else patience,
        )  # fmt: skip


def _semla(about: str, steps: int, batch: int, weight_decay: float, warmup_factor: float = 0.01) -> Preset:
    """Settings of SemLA, supplement, section A: rank 8, alpha 16, AdamW at 1e-4 with 1,000 warm-up steps."""
    schedule = Schedule(steps, batch, 1e-4, 1000, weight_decay, warmup_factor)
    return Preset(f"SemLA, {about}", schedule, validate_every=max(50, steps // 40))


def _recyclelora(about: str, sub_rank: int) -> Preset:
    schedule = Schedule(40_000, 4, 1e-4, warmup=0, weight_decay=0.0, decay="poly")
    return Preset(
        f"RecycleLoRA, {about}", schedule, 32 + sub_rank, sub_rank=sub_rank, validate_every=1000, method="recyclelora"
    )


_SMALL = Schedule(60, 16, 3e-3, warmup=10, weight_decay=0.0)
PRESETS = {
    "small": Preset("small networks such as the bundled one, LoRA", _SMALL, validate_every=10, patience=3),
    "small_recyclelora": Preset(
        "small networks, RecycleLoRA", replace(_SMALL, lr=1e-2), validate_every=10, patience=3, method="recyclelora"
    ),
    "small_full": Preset(
        "small networks, all parameters", replace(_SMALL, lr=3e-4), validate_every=10, patience=3, method="full"
    ),
    "acdc": _semla("ACDC: fog, night, rain, snow; about 400 images each", 2_000, 2, 1e-4),
    "muses": _semla("MUSES: eight weathers and times of day", 3_000, 2, 1e-4),
    "mapillary": _semla("Mapillary Vistas", 6_000, 2, 1e-5),
    "bdd": _semla("BDD100K", 10_000, 4, 1e-5),
    "cityscapes": _semla("Cityscapes", 20_000, 4, 1e-5),
    "general": _semla("ADE20K and IDD", 20_000, 4, 1e-5, 0.1),
    "indoor": _semla("NYU and Pascal Context", 4_000, 4, 1e-5, 0.1),
    "full": Preset("all parameters of a large network", Schedule(3_000, 2, 1e-5, 1000, 1e-4, 0.01), method="full"),
    "recyclelora": _recyclelora("from rendered to real images", 4),
    "recyclelora_real": _recyclelora("from real to other real images", 2),
}  # fmt: skip


DEFAULTS = {  # method to the presets for small and for large networks
    "lora": ("small", "acdc"), "recyclelora": ("small_recyclelora", "recyclelora"), "full": ("small_full", "full"),
}  # fmt: skip


def default_preset(network: nn.Module, method: str) -> str:
    """Returns the name of the preset that fits the size of a network and a method."""
    small, large = DEFAULTS[method]
    return small if sum(parameter.numel() for parameter in network.parameters()) < SMALL_NETWORK else large
