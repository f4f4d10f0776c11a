from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from tiny import drive

from semla_ros.config import Config
from semla_ros.demo.changes import assign, settle_ns
from semla_ros.demo.checks import checks
from semla_ros.demo.drive import Stretch
from semla_ros.demo.examples import Examples
from semla_ros.demo.film import Film, compose
from semla_ros.demo.recorded import Recorded
from semla_ros.demo.report import mixture, signed, write_report
from semla_ros.demo.scores import LabelledImage, Pair, Scores
from semla_ros.demo.summary import Summary, accounts
from semla_ros.demo.timeline import Timeline, draw
from semla_ros.images.classes import class_table
from semla_ros.images.frame import Frame
from semla_ros.pipeline.pipeline import SemlaPipeline
from semla_ros.recordings.replay import Swap
from semla_ros.recordings.writer import result_bag
from semla_ros.topics.domain import DomainSample

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND
CLASSES = class_table(("road", "sky"))


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def swap(seconds: float, name: str = "fog_day") -> Swap:
    return Swap(at(seconds), (name,), (1.0,))


def test_masks_states_and_swaps_are_read_from_a_bag(tmp_path: Path, pipeline: SemlaPipeline) -> None:
    frames = drive(("blue", 1.0), ("red", 1.0), start=1_700_000_000)
    with result_bag(tmp_path / "bag", pipeline.classes) as bag:
        results = [pipeline.process(frame) for frame in frames]
        for result in results:
            bag.write(result)
    read = Recorded.read(tmp_path / "bag")
    assert list(read.masks) == list(read.arrived_ns) == [frame.stamp_ns for frame in frames]
    assert read.confidences == len(frames)
    used = results[0].domain.mixture
    assert read.swaps[0].names == used.names
    assert read.states[0].weights == pytest.approx(dict(zip(used.names, used.weights, strict=True)))


STRETCHES = (
    Stretch("clear_day", True, at(0), at(10)),
    Stretch("fog_day", False, at(10), at(12)),
    Stretch("fog_day", True, at(12), at(30)),
)
RIGHT = (swap(0, "clear_day"), swap(13))


def item(seconds: float, adapted: int | None = 1, frozen: int = 0, ground_truth: int = 1) -> LabelledImage:
    labels = [
        None if label is None else np.full((24, 40), label, np.uint8) for label in (ground_truth, adapted, frozen)
    ]
    assert labels[0] is not None
    assert labels[2] is not None
    return LabelledImage(Frame(np.full((24, 40, 3), 90, np.uint8), at(seconds)), labels[0], labels[1], labels[2])


def recorded(count: int = 3) -> Recorded:
    figures = {
        "frames_received": str(count),
        "frames_segmented": str(count),
        "frames_dropped": "0",
        "frames_failed": "0",
    }
    stamps = [at(i) for i in range(count)]
    adapters = ("clear_day", 0.9, 1.0), ("dusk", 0.1, 9.0)
    state = DomainSample(at(0), adapters, 1.0, 11.0, 8.0, 0.2, 1, False, False, "")
    return Recorded(
        masks=dict.fromkeys(stamps, np.zeros((2, 2), np.uint8)),
        confidences=count,
        sent_ns=dict(zip(stamps, stamps, strict=True)),
        arrived_ns={stamp: stamp + SECOND // 20 for stamp in stamps},
        states=[state],
        figures=figures,
    )


def scored() -> Scores:
    scores = Scores(len(CLASSES), STRETCHES)
    for seconds in (1, 11, 13, 20):
        scores.add(item(seconds))
    return scores


def test_a_swap_soon_after_a_change_is_assigned_to_it() -> None:
    swaps = assign(RIGHT, STRETCHES, settle_ns(Config()))
    assert swaps.first == RIGHT[0]
    assert [change.swaps for change in swaps.changes] == [(RIGHT[1],)]
    assert swaps.stray == ()


@pytest.mark.parametrize("seconds", [5, 9.9, 20, 25])
def test_a_swap_inside_a_steady_stretch_is_stray(seconds: float) -> None:
    stray = swap(seconds)
    assert assign((swap(0), stray), STRETCHES, settle_ns(Config())).stray == (stray,)


def test_a_change_without_a_swap_fails_its_check() -> None:
    swaps = assign((swap(0),), STRETCHES, settle_ns(Config()))
    failed = [check.what for check in checks(3, recorded(), swaps) if not check.passed]
    assert failed == ["Every change of the domain was followed by a swap"]


def test_an_image_that_never_arrived_fails_its_check() -> None:
    swaps = assign(RIGHT[:1], STRETCHES[:1], settle_ns(Config()))
    failed = [check.what for check in checks(4, recorded(), swaps) if not check.passed]
    assert failed == ["Every image sent reached the node"]


def test_scores_are_kept_per_stretch_and_dropped_images_count_in_no_total() -> None:
    scores = scored()
    before = scores.total
    pair = scores.add(item(2, adapted=None))
    assert math.isnan(pair.adapted)
    assert scores.total == before == Pair(100.0, 0.0)
    scores.add(item(14, adapted=0))
    assert scores.per_stretch[STRETCHES[0]].gain == 100
    assert scores.per_stretch[STRETCHES[2]].adapted == pytest.approx(100 * 2 / 3)


def test_an_example_is_taken_from_the_middle_of_each_steady_stretch() -> None:
    examples = Examples(STRETCHES, CLASSES)
    for seconds in (1, 5, 6, 11, 13, 22, 23):
        examples.add(item(seconds), Pair(1, 1))
    assert [example.domain for example in examples.taken] == ["clear_day", "fog_day"]


@pytest.mark.parametrize("weights", [{}, {"fog_day": 1.0}, {"fog_day": 0.99999, "dusk": 0.00001}, {"a": 0.5, "b": 0.5}])
def test_any_mixture_can_be_drawn_below_the_panels(weights: dict[str, float]) -> None:
    panel = np.full((25, 41, 3), 200, np.uint8)
    image = compose([panel, panel, panel], ["clear day", "adapted", "frozen"], weights)
    assert image.shape[0] % 2 == image.shape[1] % 2 == 0
    assert image.shape[1] >= 3 * 41


def test_the_video_is_h264_for_browsers_and_has_every_image(tmp_path: Path) -> None:
    with Film(tmp_path / "overlay.mp4", CLASSES, 10.0) as film:
        for seconds in range(7):
            film.add(item(seconds, None if seconds == 3 else 1), Pair(50.0, 40.0), "fog_day", {"fog_day": 1.0})
    with av.open(str(tmp_path / "overlay.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        assert sum(1 for _ in container.decode(stream)) == 7


def test_the_report_is_one_file_with_all_results(tmp_path: Path) -> None:
    scores = scored()
    swaps = assign(RIGHT, STRETCHES, settle_ns(Config()))
    summary = Summary.of(3, recorded(), swaps, scores, "streetworld", "A stand-in trained on rendered streets.")
    timeline = draw(Timeline(STRETCHES, recorded().states, scores.frames, [s.stamp_ns for s in RIGHT]))
    examples = Examples(STRETCHES, CLASSES)
    examples.add(item(6), Pair(1, 1))
    write_report(tmp_path / "report.html", summary, examples.taken, CLASSES, (timeline, timeline), b"film")
    page = (tmp_path / "report.html").read_text()
    assert timeline.startswith(b"\x89PNG")
    assert page.count("<picture>") == page.count("</picture>") == 1  # light and dark timeline
    assert "<image>" not in page
    assert not any(f'{attribute}="http' in page for attribute in ("src", "href"))
    assert "A stand-in trained on rendered streets." in page
    assert "100.0" in page


def report(path: Path, sent: int) -> str:
    scores = scored()
    summary = Summary.of(sent, recorded(), assign(RIGHT[:1], STRETCHES[:1], 0), scores, "streetworld", "about")
    write_report(path, summary, [], CLASSES, (b"", b""), b"")
    return path.read_text()


def test_the_report_says_which_model_was_driven(tmp_path: Path) -> None:
    swaps = assign(RIGHT[:1], STRETCHES[:1], 0)
    for bundle, words in (("streetworld", "is a small stand-in"), ("mine", "Model bundle mine: Trained on my robot.")):
        summary = Summary.of(3, recorded(), swaps, scored(), bundle, "Trained on my robot.")
        write_report(tmp_path / f"{bundle}.html", summary, [], CLASSES, (b"", b""), b"")
        page = (tmp_path / f"{bundle}.html").read_text()
        assert words in page
        assert ("stand-in" in page) == (bundle == "streetworld")


def test_a_failed_check_is_shown_at_the_top_of_the_report(tmp_path: Path) -> None:
    good, bad = (report(tmp_path / f"{sent}.html", sent) for sent in (3, 4))
    assert "All 6 checks passed" in good
    assert "Check failed" not in good
    assert "Check failed: Every image sent reached the node (4 sent, 3 received)" in bad
    assert "checks passed" not in bad
    assert bad.index("Check failed") < bad.index("<video")


def test_a_machine_that_drops_many_images_is_named_as_too_slow_in_report_and_terminal(tmp_path: Path) -> None:
    summary = Summary.of(3, recorded(), assign(RIGHT[:1], STRETCHES[:1], 0), scored(), "streetworld", "about")
    slow = replace(summary, frames_dropped=2)
    write_report(tmp_path / "slow.html", slow, [], CLASSES, (b"", b""), b"")
    warning = "too slow or too busy: 67 % of the images were dropped"
    assert warning in (tmp_path / "slow.html").read_text()
    assert warning in accounts(slow)
    assert "too slow" not in accounts(summary)


def test_names_are_escaped_in_the_report(tmp_path: Path) -> None:
    scores = scored()
    swaps = assign((swap(0, "<script>"),), STRETCHES[:1], 0)
    summary = Summary.of(3, recorded(), swaps, scores, "<i>name</i>", "<b>about</b>")
    write_report(tmp_path / "report.html", summary, [], CLASSES, (b"", b""), b"")
    page = (tmp_path / "report.html").read_text()
    assert "<script>" not in page
    assert "&lt;b&gt;about&lt;/b&gt;" in page
    assert "&lt;i&gt;name&lt;/i&gt;" in page


def test_small_weights_are_summarised() -> None:
    assert mixture({"fog_day": 0.72, "rain_day": 0.28}) == "fog day 0.72, rain day 0.28"
    assert mixture({"fog_day": 0.996, "dusk": 0.004}) == "fog day 1.00, others below 0.01"
    assert mixture({}) == "no adapter"


def test_a_loss_has_a_minus_sign_and_a_missing_value_is_a_dash() -> None:
    assert (signed(-1.25), signed(math.nan)) == ("−1.2", "–")


def test_nan_becomes_null_in_the_summary(tmp_path: Path) -> None:
    swaps = assign(RIGHT, STRETCHES, settle_ns(Config()))
    nothing = Recorded(states=recorded().states, figures=recorded(0).figures)
    Summary.of(0, nothing, swaps, scored(), "streetworld", "x").write(tmp_path / "summary.json")
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["latency_ms_median"] is None
    assert [s["kind"] for s in summary["swaps"]] == ["first", "change"]
    required = {"frames_sent", "frames_received", "frames_segmented", "frames_dropped", "swaps", "latency_ms_median"}
    assert required | {"latency_ms_p95", "fps", "miou_adapted", "miou_frozen", "versions"} <= summary.keys()
