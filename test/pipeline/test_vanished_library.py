"""A library that vanishes from disk while it is in use, and comes back."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import drive, frame

from semla_ros.config import changed
from semla_ros.errors import AdapterError
from semla_ros.library.adapter_folder import WEIGHTS
from semla_ros.library.bundle import ADAPTERS
from semla_ros.pipeline.pipeline import SemlaPipeline


@pytest.fixture
def library(bundle: Path, pipeline: SemlaPipeline) -> Path:
    """The folder of the library of `pipeline`, of which one adapter at a time is used."""
    pipeline.configure(changed(pipeline.config, {"fusion.k": 1}))
    for each in drive(("red", 3.0)):
        pipeline.process(each)
    return bundle / ADAPTERS


def states(pipeline: SemlaPipeline, domain: str, seconds: float, start: float) -> list[tuple[str, ...]]:
    return [pipeline.process(each).domain.mixture.names for each in drive((domain, seconds), start=start)]


def test_frames_are_segmented_with_the_last_mixture_and_the_return_of_the_folder_brings_the_swap(
    pipeline: SemlaPipeline, library: Path
) -> None:
    library.rename(library.with_name("away"))
    assert set(states(pipeline, "blue", 4.0, 103.0)) == {("red",)}
    assert "unreadable adapter" in pipeline.domain.error
    assert pipeline.warnings == (f"the adapter library {library} is gone: only adapters in memory are used",)
    library.with_name("away").rename(library)
    assert states(pipeline, "blue", 2.0, 107.0)[-1] == ("blue",)
    assert (pipeline.domain.error, pipeline.warnings) == ("", ())


def test_a_reload_without_the_folder_is_refused_and_the_library_in_memory_stays(
    pipeline: SemlaPipeline, library: Path
) -> None:
    before = pipeline.library
    library.rename(library.with_name("away"))
    with pytest.raises(AdapterError, match="no adapter library"):
        pipeline.reload_library()
    assert pipeline.library is before
    assert set(states(pipeline, "red", 1.0, 103.0)) == {("red",)}
    library.with_name("away").rename(library)
    pipeline.reload_library()
    assert states(pipeline, "blue", 1.0, 105.0)[-1] == ("blue",)


def test_an_adapter_left_out_of_the_mixture_joins_it_as_soon_as_its_file_is_back(
    pipeline: SemlaPipeline, library: Path
) -> None:
    file = library / "blue" / WEIGHTS
    content = file.read_bytes()
    pipeline.reload_library()
    pipeline.configure(changed(pipeline.config, {"fusion.k": 3, "fusion.temperature": 1.0}))
    file.unlink()
    assert "blue" not in states(pipeline, "red", 2.0, 110.0)[-1]
    assert "left out of the mixture" in pipeline.domain.error
    file.write_bytes(content)
    time = iter(range(1120, 2120))
    for _ in range(1000):  # the file is read in the background
        if "blue" in pipeline.process(frame("red", next(time) / 10)).domain.mixture.names:
            break
    assert sorted(pipeline.domain.mixture.names) == ["blue", "green", "red"]
    assert pipeline.domain.error == ""
