from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny import CLASSES, random_navigator, random_network

from semla_ros.bench.growth import KS, RANKS
from semla_ros.bench.halves import in_halves
from semla_ros.bench.jetson import estimates
from semla_ros.bench.measure import Stopwatch, timed, timing
from semla_ros.bench.roofline import Roofline
from semla_ros.bench.run import run
from semla_ros.bench.stress import Soak
from semla_ros.bench.subject import SIZES, Options, Subject
from semla_ros.cli import main

CLAIMED = {"peft_over_fuse", "swap_over_forward", "forward_after_swap", "reference_over_forward"}


@pytest.fixture(autouse=True)
def _tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("semla_ros.bench.roofline.SIDE", 64)
    monkeypatch.setitem(SIZES, "vitb16", lambda o: Subject(random_network(), random_navigator(), CLASSES, o))


def test_one_run_holds_every_ratio_and_names_the_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    file, plot = tmp_path / "out/bench.json", tmp_path / "out/growth.png"
    run(["vitb16"], Options(adapters=4, k=2, rank=2, repeats=2), file, plot)
    figures = json.loads(file.read_text())
    size = figures["sizes"]["vitb16"]
    assert set(figures["ratios"]) >= CLAIMED
    assert figures["ratios"] == size["ratios"]
    assert all(ratio > 0 for ratio in figures["ratios"].values())
    assert {"processor", "cores", "gpu"} <= figures["machine"].keys()
    assert {"torch", "python"} <= figures["versions"].keys()
    assert {"decode", "embed", "retrieve", "fuse", "text", "forward", "publish"} <= size["stages_ms"].keys()
    assert size["stages_ms"]["forward"]["repeats"] == 2
    assert max(size["differences"].values()) < 1e-4
    assert size["halves"].keys() == {"bfloat16", "float16"}
    assert set(figures["growth"]["fuse_ms_by_k"]) == {str(k) for k in KS}
    assert set(figures["growth"]["fuse_ms_by_rank"]) == {str(rank) for rank in RANKS}
    assert plot.read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    assert shown.index("peft_over_fuse") < shown.index("median, ms")


def test_ratios_are_those_of_the_medians() -> None:
    size = run(["vitb16"], Options(adapters=3, k=2, rank=2, repeats=2))["sizes"]["vitb16"]
    ms = {name: timing["median"] for name, timing in size["stages_ms"].items()}
    ratios = size["ratios"]
    assert ratios["reference_over_forward"] == pytest.approx(ms["reference"] / ms["forward"])
    assert ratios["swap_over_forward"] == pytest.approx((ms["retrieve"] + ms["fuse"] + ms["text"]) / ms["forward"])
    added = ms["peft_add"] + ms["peft_set"] + ms["peft_delete"]
    assert ratios["peft_over_fuse"] == pytest.approx(added / (ms["retrieve"] + ms["fuse"]))


def test_half_precision_gives_nearly_all_pixels_the_same_class() -> None:
    subject = SIZES["streetworld"](Options(adapters=1, k=1))
    subject.images = subject.images[::6]
    halves = in_halves(subject, 1.0, 1)
    bfloat16, float16 = (halves[name].agreement for name in ("bfloat16", "float16"))
    assert bfloat16 is not None
    assert float16 is not None
    assert 99 < bfloat16 <= float16 <= 100


def test_an_estimate_is_the_longer_time_of_operations_and_bytes() -> None:
    rooflines = {"forward": Roofline(53.248, 1.0, 0.0, 0.0), "fuse": Roofline(0.0, 2048.0, 0.0, 0.0)}
    orin = estimates(rooflines)["Jetson AGX Orin 64 GB"]
    assert orin["float32"] == pytest.approx({"forward": 10.0, "fuse": 10.0})
    assert orin["half"] == pytest.approx({"forward": 1.25, "fuse": 5.0})


def test_a_timing_is_the_median_and_half_the_interquartile_range() -> None:
    assert timing([1.0, 2.0, 3.0, 4.0, 100.0]).median == 3
    assert timing([1.0, 2.0, 3.0, 4.0, 100.0]).spread == 1
    assert timing([1.0, 2.0, 3.0, 4.0, 100.0]).repeats == 5


def test_the_first_call_does_not_count() -> None:
    calls: list[int] = []
    assert timed(lambda: calls.append(1), 3).repeats == 3
    assert len(calls) == 4


def test_a_row_measures_its_block() -> None:
    watch = Stopwatch()
    with watch.row("a"):
        pass
    assert len(watch["a"]) == 1
    assert watch["a"][0] >= 0


def test_soak_from_the_command_line(
    pristine_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    live = []

    def live_soak(images: object, frames: int, every: int, settings: dict[str, object]) -> Soak:
        live.append(settings)
        return Soak(frames, frames // every, (1.0, 2.0), 1.0, 0.0, 0.0)

    monkeypatch.setattr("semla_ros.bench.live_soak.live_soak", live_soak)
    argv = ["bench", "--bundle", str(pristine_bundle), "--set", "model.device=cpu"]
    assert main([*argv, "--soak", "60", "--json", str(tmp_path / "soak.json")]) == 0
    figures = json.loads((tmp_path / "soak.json").read_text())
    assert figures["frames"] == figures["live"]["frames"] == figures["live_small_budget"]["frames"] == 60
    assert [each.get("library.memory_mib") for each in live] == [None, 1]
    assert all(each["model.bundle"] == str(pristine_bundle) for each in live)
    assert "live_small_budget.growth_mib: 1.00" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--classes", "300"], "at most 256"),
        (["--k", "5", "--adapters", "4"], "at most 4"),
        (["--plot", "growth.doc"], ".png"),
        (["--json", "{file}/below.json"], "{file}"),
    ],
)
def test_impossible_requests_are_refused_before_measuring(
    argv: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert main(["bench", *(each.format(file=file) for each in argv)]) == 1
    assert told.format(file=file) in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--bundle", "other"], "--bundle has no effect on the tables"),
        (["--set", "nonsense=1"], "--set has no effect on the tables"),
        (["--rate", "5"], "--rate has no effect on the tables"),
        (["--size", "fisa-vitb16", "--rank", "4"], "--rank has no effect on the tables of FISA"),
        (["--library", "3", "--set", "fusion.k=1"], "--set has no effect on --library"),
        (["--swaps", "3", "--size", "vitb16"], "--size has no effect on --swaps"),
        (["--under-load", "--threads", "1"], "--threads has no effect on --under-load"),
        (["--startup", "--plot", "growth.png"], "--plot has no effect on --startup"),
    ],
)
def test_options_without_effect_are_refused_before_measuring(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("semla_ros.cli.bench.claimed", lambda *files: pytest.fail("the measurement would begin"))
    assert main(["bench", *argv]) == 1
    assert told in capsys.readouterr().err


def test_the_name_of_the_plot_may_be_in_capitals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plots = []
    monkeypatch.setattr("semla_ros.bench.run.run", lambda sizes, options, file, plot: plots.append(plot))
    assert main(["bench", "--plot", str(tmp_path / "GROWTH.PNG")]) == 0
    assert plots == [tmp_path / "GROWTH.PNG"]


@pytest.mark.parametrize(("repeats", "starts"), [("1", 1), ("15", 7)])
def test_half_of_the_repeats_are_starts_of_the_node_but_at_least_one(
    repeats: str, starts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []
    monkeypatch.setattr("semla_ros.bench.startup.startup", lambda settings, rounds: (done.append(rounds), Options())[1])
    assert main(["bench", "--startup", "--repeats", repeats]) == 0
    assert done == [starts]


@pytest.mark.parametrize("rate", ["0", "-1", "nan", "inf", "fast"])
def test_a_rate_is_above_zero(rate: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "--swaps", "2", "--rate", rate])
    assert "expected a number above 0" in capsys.readouterr().err


def test_the_scale_of_a_library_is_measured_from_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "--library", "3", "--json", str(tmp_path / "library.json")]) == 0
    figures = json.loads((tmp_path / "library.json").read_text())
    assert figures["adapters"] == 3
    assert 0 < figures["kept_mb"] < 0.4
    assert 0 < figures["file_kb"] < 100
    assert min(figures[name] for name in ("open_s", "open_older_s", "first_look_ms", "look_ms")) > 0
    assert "look_ms: " in capsys.readouterr().out
