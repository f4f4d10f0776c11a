"""The optimisation loop of all trainings: reproducible, resumable, and on several GPUs by accelerate."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from semla_ros.errors import TrainingError
from semla_ros.progress import ProgressBar
from semla_ros.training.best import Best, Validation
from semla_ros.training.checkpoint import Checkpoint
from semla_ros.training.fingerprint import Fingerprint
from semla_ros.training.log import Log
from semla_ros.training.schedule import Schedule

Draw = Callable[[torch.Generator, slice], tuple[Tensor, ...]]
ROW = 20  # steps per row of the log


def fit(
    name: str, loss: nn.Module, draw: Draw, schedule: Schedule, folder: Path, seed: int, accelerator: Accelerator,
    groups: Sequence[dict[str, Any]] = (), validation: Validation | None = None, fingerprint: Fingerprint | None = None,
) -> Best:  # fmt: skip
    """Trains until the schedule ends, or until the validation improves no more. Continues from the last checkpoint.

    Step n draws its samples from a generator seeded with (seed, n). An interrupted and resumed training therefore
    gives the same weights and the same log as an uninterrupted one. With a validation, the weights in the end are
    those of the highest mIoU.

    Args:
        name: Name of checkpoint, log and progress bar.
        loss: Module that computes the loss of a batch. Its parameters that require a gradient are trained.
        draw: Called with a generator and the slice of the batch that this process computes; returns the arguments of
            ``loss``.
        schedule: Number of steps and learning rates.
        folder: Folder of the checkpoint ``<name>.pt`` and the log ``<name>.csv``.
        seed: Seed of the samples.
        accelerator: Device and processes; the first process alone writes files.
        groups: Parameter groups of the optimiser with base learning rates of their own; by default one group.
        validation: Score of the present weights; None trains without.
        fingerprint: Checksum of what the training reads; None continues it with whatever is there.

    Returns:
        The highest mIoU and the one before the training; NaN without a validation.

    Raises:
        TrainingError: Checkpoint or log is damaged, belongs to another training, or cannot be written; or the batch
            cannot be divided among the processes; or the loss is not finite.
    """
    main, share = accelerator.is_main_process, _share(schedule.batch, accelerator)
    trained = {key: parameter for key, parameter in loss.named_parameters() if parameter.requires_grad}
    parameters = list(groups) or [{"params": list(trained.values())}]
    adamw = AdamW(parameters, schedule.lr, weight_decay=schedule.weight_decay)
    with _prepared(loss, adamw, accelerator) as (model, optimizer):
        update = _Update(model, optimizer, list(trained.values()), schedule, accelerator)
        state = trained | _running_averages(loss)
        best = Best(state, validation.patience if validation else 0, schedule.warmup)
        optional = {"scaler": accelerator.scaler, "fingerprint": fingerprint}
        parts = {"optimizer": optimizer, "best": best} | {name: part for name, part in optional.items() if part}
        checkpoint = Checkpoint(folder / f"{name}.pt", state, parts, writes=main)
        first = checkpoint.restore()
        accelerator.wait_for_everyone()  # before the first process replaces the checkpoint
        log = Log(folder / f"{name}.csv", first, writes=main)
        if validation and not first:
            best.before = validation.score()
        if first and main:
            print(f"{name}: continues after step {first} of {schedule.steps}", file=sys.stderr)
        steps = range(schedule.steps if best.exhausted else first, schedule.steps)
        bar = ProgressBar(steps, desc=name, initial=first, total=schedule.steps, mininterval=5, disable=not main)
        for step in bar:
            # 1. Every process draws the same batch and computes its slice of it.
            log.add(update(step, draw(torch.Generator().manual_seed(seed * 1_000_003 + step), share)))
            # 2. The best weights are kept. Once the mIoU rises no more, the training ends.
            done, last = step + 1, step + 1 == schedule.steps
            validated = validation is not None and (last or done % validation.every == 0)
            if validation and validated:
                best.add(done, validation.score())
            bar.set_postfix_str(
                f"loss {log.mean:.4f}" + (f", mIoU {best.latest:.1f} %" if best.latest is not None else ""),
                refresh=False,
            )
            # 3. Checkpoints are saved only after a row of the log, so that a resumed log has the same rows.
            if validated or last or done % ROW == 0:
                log.write_row(step, schedule.rate(step), best.latest if validated else None)
                last = last or best.exhausted
                checkpoint.save(done) if last else checkpoint.save_periodically(done)
            if best.exhausted:
                break
        best.restore()
    return best


@contextmanager
def _prepared(loss: nn.Module, optimizer: Optimizer, accelerator: Accelerator) -> Iterator[tuple[nn.Module, Any]]:
    """Loss and optimiser as accelerate runs them."""
    try:
        yield accelerator.prepare(loss, optimizer)
    finally:  # it would hold the optimiser, and cast the loss to bfloat16, until the process ends
        accelerator.unwrap_model(loss, keep_fp32_wrapper=False)
        accelerator.free_memory()


class _Update:
    """One step of the optimiser.

    Args:
        model: Computes the loss of a batch.
        optimizer: Its groups have the base learning rates.
        trained: The parameters.
        schedule: Factors of the learning rates.
        accelerator: Device and processes.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        trained: list[nn.Parameter],
        schedule: Schedule,
        accelerator: Accelerator,
    ) -> None:
        self._model, self._optimizer, self._trained = model, optimizer, trained
        self._schedule, self._accelerator = schedule, accelerator
        self._rates = [group["lr"] for group in optimizer.param_groups]

    def __call__(self, step: int, batch: Sequence[Tensor]) -> float:
        """Changes the parameters by clipped gradients, averaged over the processes, and returns the loss."""
        loss = self._model(*(tensor.to(self._accelerator.device) for tensor in batch))
        self._optimizer.zero_grad()
        self._accelerator.backward(loss)
        self._accelerator.clip_grad_norm_(self._trained, 1.0)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * self._schedule.factor(step)
        self._optimizer.step()
        return _checked(self._accelerator.reduce(loss.detach(), "mean").item(), step)


def _running_averages(loss: nn.Module) -> dict[str, Tensor]:
    """Buffers that change during a training, those of batch normalisation."""
    return {
        f"{name}.{key}": buffer
        for name, module in loss.named_modules() if isinstance(module, nn.BatchNorm2d)
        for key, buffer in module.named_buffers()
    }  # fmt: skip


def _checked(loss: float, step: int) -> float:
    """Returns a loss if it is finite."""
    if not math.isfinite(loss):
        raise TrainingError(
            "training diverged", where=f"step {step}", got=f"loss {loss}", hint="Choose a smaller --lr."
        )
    return loss


def _share(batch: int, accelerator: Accelerator) -> slice:
    """The slice of a batch that this process computes."""
    processes = accelerator.num_processes
    if batch % processes:
        raise TrainingError(
            "batch that cannot be divided", where="--batch", got=batch, expected=f"a multiple of {processes} processes"
        )
    return slice(accelerator.process_index, None, processes)
