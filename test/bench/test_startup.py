"""The node's start beside ``import torch``, and what a robot must not import."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from semla_ros.bench.processes import BenchError, Process, load
from semla_ros.bench.startup import compared

DESK = {"open_clip", "torchvision", "transformers", "timm", "peft", "matplotlib", "rich", "jinja2", "torch._dynamo"}
SEGMENT = """
import sys
import numpy as np
from semla_ros.config import Config, changed
from semla_ros.images.frame import Frame
from semla_ros.pipeline.build import build_live_pipeline
pipeline = build_live_pipeline(changed(Config(), {"model.bundle": sys.argv[1], "model.device": "cpu"}))
result = pipeline.process(Frame(np.zeros((40, 60, 3), np.uint8), 10**9, "camera"))
assert result.domain.swaps == 1, result.domain
import semla_ros.recordings.replay
print(*sys.modules)
"""


def test_what_runs_on_a_robot_imports_nothing_of_the_desk(pristine_bundle: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SEGMENT, str(pristine_bundle)], capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.split())
    assert "semla_ros.modeling.clip.tokenizer" in loaded
    assert loaded & DESK == set()


def test_the_allowance_is_one_and_a_half_times_torch_and_one_and_a_half_seconds() -> None:
    figures = compared([4.0, 9.0, 5.0], [2.0, 2.5, 1.0])
    assert (figures.active_s, figures.import_torch_s, figures.allowed_s) == (5.0, 2.0, 4.5)
    assert figures.ratio == 2.5
    assert not figures.met
    assert compared([4.5], [2.0]).met


def test_a_process_that_ends_too_early_is_told_with_its_log() -> None:
    with (
        Process(["semla_ros.cli", "--version"]) as process,
        pytest.raises(BenchError, match=r"(?s)ended with code 0.*expected active: .*semla_ros \d"),
    ):
        process.wait_for("active: ")


def test_a_process_that_fails_has_no_result() -> None:
    with (
        Process(["semla_ros.cli", "nothing"]) as process,
        pytest.raises(BenchError, match=r"(?s)ended with code 2.*invalid choice"),
    ):
        process.result()


def test_a_process_has_the_variables_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEMLA_TEST_A", "1")
    show = "import os; print([item for item in os.environ.items() if 'SEMLA_TEST' in item[0]])"
    with Process(["timeit", "-n1", "-r1", show], {"SEMLA_TEST_A": None, "SEMLA_TEST_B": "2"}) as process:
        process.result()
        assert process.log.splitlines()[0] == "[('SEMLA_TEST_B', '2')]"


def test_the_load_ends_with_its_block() -> None:
    before = children()
    with load(2):
        busy = children() - before
        assert len(busy) == 2
    assert not children() & busy


def test_the_load_ends_with_a_benchmark_that_is_killed() -> None:
    code = "from semla_ros.bench.processes import load\nwith load(1): print('on', flush=True); input()"
    benchmark = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert benchmark.stdout is not None
    benchmark.stdout.readline()
    (busy,) = Path(f"/proc/{benchmark.pid}/task/{benchmark.pid}/children").read_text().split()
    benchmark.kill()
    benchmark.wait()
    end = time.monotonic() + 120
    while Path(f"/proc/{busy}/stat").is_file() and ") Z" not in Path(f"/proc/{busy}/stat").read_text():
        assert time.monotonic() < end, "the busy process goes on"
        time.sleep(0.05)


def children() -> set[str]:
    """Process ids of this process's children."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())
