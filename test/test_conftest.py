"""What every test of the suite may count on."""

from __future__ import annotations

import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st


def test_an_example_may_take_long() -> None:
    waits = iter([0.3])

    @given(st.integers())
    @settings(max_examples=3)
    def every_integer(value: int) -> None:
        time.sleep(next(waits, 0.0))

    every_integer()


def test_every_run_has_the_same_examples() -> None:
    assert examples() == examples()


def examples() -> list[int]:
    seen: list[int] = []

    @given(st.integers())
    @settings(max_examples=10)
    def every_integer(value: int) -> None:
        seen.append(value)

    every_integer()
    return seen


@pytest.mark.parametrize("_run", range(2))
def test_every_test_draws_the_same_random_numbers(_run: int) -> None:
    assert torch.rand(1) == torch.rand(1, generator=torch.Generator().manual_seed(0))
