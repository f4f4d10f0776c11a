"""An interrupted training continues from its checkpoint: weights and log equal those of an uninterrupted one."""

from __future__ import annotations

import csv
import gc
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from semla_ros.errors import TrainingError
from semla_ros.training.best import Best, Validation
from semla_ros.training.device import accelerator_on
from semla_ros.training.loop import fit
from semla_ros.training.schedule import Schedule

STEPS = 60
SECONDS_PER_STEP = 2.0  # so that a checkpoint is due after 30 steps


class Clock:
    """A clock that the test moves."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.seconds)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


class Loss(nn.Module):
    """Mean squared output of one linear layer.

    Args:
        inputs: Width of the layer.
    """

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.layer = nn.Linear(inputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x).square().mean()


def train(
    folder: Path, clock: Clock, interrupt_at: int | None = None, inputs: int = 4, scores: Sequence[float] = (),
    patience: int = 0, warmup: int = 2, accelerator: Accelerator | None = None, loss: Loss | None = None,
) -> tuple[Tensor, Best]:  # fmt: skip
    """Trains one linear layer; returns its weight and the scores.

    Args:
        folder: Folder of checkpoint and log.
        clock: Moves by `SECONDS_PER_STEP` in every step.
        interrupt_at: Number of steps after which this run is interrupted; None runs to the end.
        inputs: Width of the layer.
        scores: Score before the training and after every ten steps; none trains without a validation.
        patience: Validations without improvement that end the training.
        warmup: Steps of the warm-up.
        accelerator: Device; by default the CPU.
        loss: Layer to train; by default a new one.
    """
    torch.manual_seed(0)
    loss = loss or Loss(inputs)
    done = 0

    def draw(generator: torch.Generator, share: slice) -> tuple[Tensor, ...]:
        nonlocal done
        if done == interrupt_at:
            raise KeyboardInterrupt
        done += 1
        clock.seconds += SECONDS_PER_STEP
        return (torch.rand(8, inputs, generator=generator),)

    def score() -> float:
        return scores[len(log_rows(folder)) + 1] if done else scores[0]

    validation = Validation(score, 10, patience) if scores else None
    schedule = Schedule(STEPS, batch=1, lr=0.1, warmup=warmup)
    best = fit("layer", loss, draw, schedule, folder, 3, accelerator or accelerator_on("cpu"), validation=validation)
    return loss.layer.weight.detach(), best


def log_rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "layer.csv").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("interrupted_at", [35, 45, 59])
def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path, clock: Clock, interrupted_at: int) -> None:
    expected, _ = train(tmp_path / "whole", clock)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", clock, interrupt_at=interrupted_at)
    clock.seconds += 100_000
    assert torch.equal(train(tmp_path / "resumed", clock)[0], expected)
    assert log_rows(tmp_path / "resumed") == log_rows(tmp_path / "whole")


def test_the_log_has_one_row_per_twenty_steps_with_the_seconds_since_the_start(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path, clock)
    assert [(row["step"], row["seconds"]) for row in log_rows(tmp_path)] == [("19", "40"), ("39", "80"), ("59", "120")]


def test_a_finished_training_is_not_repeated_and_its_log_stays(tmp_path: Path, clock: Clock) -> None:
    first, rows = train(tmp_path, clock)[0], log_rows(tmp_path)
    assert torch.equal(train(tmp_path, clock, interrupt_at=0)[0], first)
    assert log_rows(tmp_path) == rows


def test_a_training_without_its_checkpoint_starts_a_new_log(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path, clock)
    rows = log_rows(tmp_path)
    (tmp_path / "layer.pt").unlink()
    train(tmp_path, clock)
    assert log_rows(tmp_path) == rows


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None], ids=["empty", "garbage", "truncated"])
def test_a_damaged_checkpoint_is_refused_with_a_remedy(tmp_path: Path, clock: Clock, content: bytes | None) -> None:
    train(tmp_path, clock)
    checkpoint = tmp_path / "layer.pt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-200] if content is None else content)
    with pytest.raises(TrainingError, match=r"checkpoint cannot be read.*layer\.pt.*Delete it"):
        train(tmp_path, clock)
    assert len(log_rows(tmp_path)) == 3


@pytest.mark.parametrize("state", [{"weight": torch.zeros(2)}, [1, 2], {"step": 3, "trained": {}, "optimizer": {}}])
def test_a_file_that_is_no_checkpoint_of_this_training_is_refused(tmp_path: Path, clock: Clock, state: object) -> None:
    torch.save(state, tmp_path / "layer.pt")
    with pytest.raises(TrainingError, match=r"checkpoint of another training.*layer\.pt.*Delete it"):
        train(tmp_path, clock)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path, clock, inputs=5)
    with pytest.raises(TrainingError, match=r"checkpoint of another training.*layer\.pt.*size mismatch"):
        train(tmp_path, clock, inputs=4)


def test_a_failed_save_keeps_the_last_checkpoint(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    save = torch.save

    def full_disk(state: object, path: Path) -> None:
        save(state, path)
        path.write_bytes(path.read_bytes()[:100])
        raise RuntimeError("unexpected pos 100 vs 4096")

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, clock, interrupt_at=45)
    kept = (tmp_path / "layer.pt").read_bytes()
    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(TrainingError, match=r"checkpoint cannot be written.*layer\.pt"):
        train(tmp_path, clock)
    assert (tmp_path / "layer.pt").read_bytes() == kept
    assert sorted(path.name for path in tmp_path.iterdir()) == ["layer.csv", "layer.pt"]


def test_a_row_of_the_log_that_was_cut_off_is_replaced(tmp_path: Path, clock: Clock) -> None:
    expected, _ = train(tmp_path / "whole", clock)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", clock, interrupt_at=45)
    with (tmp_path / "resumed/layer.csv").open("a") as file:
        file.write("59,0.00")
    assert torch.equal(train(tmp_path / "resumed", clock)[0], expected)
    assert log_rows(tmp_path / "resumed") == log_rows(tmp_path / "whole")


def test_a_file_that_is_no_log_is_refused_and_kept(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "layer.csv").write_text("name,price\nbread,3\n")
    with pytest.raises(TrainingError, match=r"not a training log.*layer\.csv"):
        train(tmp_path, clock)
    assert "bread" in (tmp_path / "layer.csv").read_text()


@pytest.mark.parametrize(
    "row", [b"39,much,0.1,,80", b"x,1,0.1,,80", b"39,1,0.1,x,80", b"39,1,0.1,,x", b"39,\xff,0.1,,80"]
)
def test_a_log_with_a_damaged_row_is_refused_and_kept(tmp_path: Path, clock: Clock, row: bytes) -> None:
    content = b"step,loss,learning_rate,miou,seconds\n19,1,0.1,,40\n" + row + b"\n59,1,0.1,,120\n"
    (tmp_path / "layer.csv").write_bytes(content)
    with pytest.raises(TrainingError, match=r"damaged training log.*layer\.csv.*Delete"):
        train(tmp_path, clock)
    assert (tmp_path / "layer.csv").read_bytes() == content


@pytest.mark.parametrize("interrupted_at", [None, 3])
def test_a_training_leaves_nothing_behind_in_accelerate(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, interrupted_at: int | None
) -> None:
    monkeypatch.setattr(AcceleratorState, "_shared_state", {})  # that of all other tests has no mixed precision
    accelerator, loss = Accelerator(cpu=True, mixed_precision="bf16"), Loss(4)
    before = living_optimizers()
    for number in range(2):
        with suppress(KeyboardInterrupt):
            train(tmp_path / str(number), clock, interrupted_at, accelerator=accelerator, loss=loss)
    assert living_optimizers() == before
    assert not hasattr(loss.forward, "__wrapped__")  # by an autocast to bfloat16


def living_optimizers() -> int:
    gc.collect()
    return sum(type(each) is torch.optim.AdamW for each in gc.get_objects())


def test_a_log_that_cannot_be_written_is_an_error(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "layer.csv.partial").mkdir()
    with pytest.raises(TrainingError, match=r"log cannot be written.*layer\.csv"):
        train(tmp_path, clock)


def test_no_progress_bar_is_written_to_a_log(tmp_path: Path, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    train(tmp_path, clock)
    assert capsys.readouterr().err == ""


RISING_AND_FALLING = (1.0, 10.0, 20.0, 15.0, 30.0, 25.0, 5.0)  # before the training, and after 10, 20, ... steps
FALLING = (1.0, 10.0, 30.0, 20.0, 25.0, 15.0, 5.0)


def test_the_weights_with_the_highest_score_are_the_result(tmp_path: Path, clock: Clock) -> None:
    weight, best = train(tmp_path, clock, scores=RISING_AND_FALLING)
    assert (best.before, best.miou, best.step) == (1.0, 30.0, 40)
    assert torch.equal(weight, weight_after(40, tmp_path / "short", clock))
    assert [row["miou"] for row in log_rows(tmp_path)] == ["10.00", "20.00", "15.00", "30.00", "25.00", "5.00"]


def weight_after(steps: int, folder: Path, clock: Clock) -> Tensor:
    """The weight of a training of `STEPS` after its first steps."""
    with pytest.raises(KeyboardInterrupt):
        train(folder, clock, interrupt_at=steps, scores=[0.0] * 10)
    state = torch.load(folder / "layer.pt", weights_only=True)
    assert state["step"] == steps
    weight: Tensor = state["trained"]["layer.weight"]
    return weight


@pytest.mark.parametrize("interrupted_at", [35, 45, 55])
def test_a_resumed_training_with_a_validation_has_the_same_best_weights(
    tmp_path: Path, clock: Clock, interrupted_at: int
) -> None:
    expected, best = train(tmp_path / "whole", clock, scores=RISING_AND_FALLING)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "resumed", clock, interrupt_at=interrupted_at, scores=RISING_AND_FALLING)
    weight, resumed = train(tmp_path / "resumed", clock, scores=RISING_AND_FALLING)
    assert torch.equal(weight, expected)
    assert (resumed.before, resumed.miou, resumed.step) == (best.before, best.miou, best.step)
    assert log_rows(tmp_path / "resumed") == log_rows(tmp_path / "whole")


def test_a_training_that_improves_no_more_ends_early_and_is_not_continued(tmp_path: Path, clock: Clock) -> None:
    weight, best = train(tmp_path, clock, scores=FALLING, patience=2)
    assert (best.step, [row["step"] for row in log_rows(tmp_path)]) == (20, ["9", "19", "29", "39"])
    again, _ = train(tmp_path, clock, interrupt_at=0, scores=FALLING, patience=2)
    assert torch.equal(again, weight)


def test_validations_during_the_warm_up_do_not_count_for_the_end(tmp_path: Path, clock: Clock) -> None:
    train(tmp_path, clock, scores=FALLING, patience=2, warmup=40)
    assert [row["step"] for row in log_rows(tmp_path)] == ["9", "19", "29", "39", "49", "59"]


def test_a_batch_that_cannot_be_divided_among_processes_is_refused(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Accelerator, "num_processes", 2)
    with pytest.raises(TrainingError, match=r"cannot be divided \(--batch\): got 1, expected a multiple of 2"):
        train(tmp_path, clock)
