"""The whole demo: a live drive, scores against a frozen model, and a report."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from semla_ros.config import Config, changed
from semla_ros.demo.changes import assign, settle_ns
from semla_ros.demo.drive import Stretch, claim, make_room, rendered, stretches
from semla_ros.demo.examples import Examples
from semla_ros.demo.film import Film
from semla_ros.demo.live import perform
from semla_ros.demo.look import DARK, LIGHT
from semla_ros.demo.recorded import Recorded
from semla_ros.demo.report import write_report
from semla_ros.demo.scores import Scores, labelled_images
from semla_ros.demo.summary import Summary, accounts, table
from semla_ros.demo.timeline import Timeline, draw
from semla_ros.demo.topics import IMAGE
from semla_ros.pipeline.build import build_pipeline
from semla_ros.recordings import open_recording
from semla_ros.streetworld.drive import DEMO_LEGS, Drive, Leg
from semla_ros.topics.domain import DomainSample

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline

RESULTS = ("report.html", "summary.json", "timeline.png", "overlay.mp4")


def run_demo(
    out: Path, *, legs: Sequence[Leg] = DEMO_LEGS, seed: int = 0, settings: Mapping[str, Any] | None = None
) -> Summary:
    """Plays a drive through changing weather to the live node and writes a report.

    The results in ``out`` are drive/ and recording/ (bags), overlay.mp4, timeline.png, report.html, summary.json and
    logs/.

    Args:
        out: Folder of the results. A drive rendered by an earlier run is used again.
        legs: Domains and durations of the drive.
        seed: Seed of the drive.
        settings: Settings of the node and of the frozen model by dotted path, for example ``{"fusion.k": 3}``.

    Returns:
        The results.

    Raises:
        DemoError: The node did not become ready, or one of the processes ended too early.
        RecordingError: ``out`` holds files that are not of a demo.
        ConfigError: A setting is wrong.
        BundleError: The model bundle is missing or damaged.
    """
    claim(out)
    for result in RESULTS:
        (out / result).unlink(missing_ok=True)  # results of an earlier run must not be mistaken for those of this one
    config = changed(Config(), settings or {})
    frozen = _frozen(config)
    drive = Drive(legs, seed)
    bag, recording = rendered(out, drive), out / "recording"
    make_room(recording)
    console = Console()
    with _progress(console) as progress:
        sent = _live(progress, bag, recording, out / "logs", settings or {}, len(drive))
        summary = _evaluate(progress, out, bag, Recorded.read(recording), sent, frozen, config)
    console.print(table(summary))
    console.print(accounts(summary))
    console.print(f"Report: {out / 'report.html'}")
    return summary


def _frozen(config: Config) -> SemlaPipeline:
    """A pipeline with the base model, which never adapts."""
    return build_pipeline(changed(config, {"fusion.adapt": False}))


def _live(progress: Progress, bag: Path, recording: Path, logs: Path, settings: Mapping[str, Any], total: int) -> int:
    task = progress.add_task("node loads its models", total=None)

    def show(masks: int) -> None:
        progress.update(task, description="live drive", total=total, completed=masks)

    return perform(bag, recording, logs, settings, show)


def _evaluate(
    progress: Progress, out: Path, bag: Path, recorded: Recorded, sent: int, frozen: SemlaPipeline, config: Config
) -> Summary:
    """Scores the recorded masks and those of the frozen model, and writes all results."""
    parts = stretches(bag)
    scores, examples = Scores(len(frozen.classes), parts), Examples(parts, frozen.classes)
    drive = open_recording(bag, IMAGE)
    rate_hz = 1e9 * (drive.frame_count or 1) / (parts[-1].end_ns - parts[0].begin_ns)
    task = progress.add_task("frozen model, scores, video", total=drive.frame_count)
    with Film(out / "overlay.mp4", frozen.classes, rate_hz) as film:
        for item in labelled_images(drive, recorded.masks, frozen):
            pair = scores.add(item)
            stamp = item.frame.stamp_ns
            film.add(item, pair, _stretch_at(parts, stamp).name, _weights_at(recorded.states, stamp))
            examples.add(item, pair)
            progress.advance(task)
    swaps = assign(recorded.swaps, parts, settle_ns(config))
    summary = Summary.of(sent, recorded, swaps, scores, config.model.bundle, frozen.bundle.about)
    timeline = Timeline(parts, recorded.states, scores.frames, [swap.stamp_ns for swap in recorded.swaps])
    light = draw(timeline, LIGHT)
    (out / "timeline.png").write_bytes(light)
    summary.write(out / "summary.json")
    write_report(
        out / "report.html", summary, examples.taken, frozen.classes, (light, draw(timeline, DARK)),
        (out / "overlay.mp4").read_bytes(),
    )  # fmt: skip
    return summary


def _stretch_at(parts: Sequence[Stretch], stamp_ns: int) -> Stretch:
    return parts[bisect_right([part.begin_ns for part in parts], stamp_ns) - 1]


def _weights_at(states: Sequence[DomainSample], stamp_ns: int) -> Mapping[str, float]:
    index = bisect_right([state.stamp_ns for state in states], stamp_ns) - 1
    return states[index].weights if index >= 0 else {}


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<28}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
