"""``semla play``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from semla_ros.cli.options import above_zero, task, zero_or_more


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    play = task(tasks, "play", _play, "publish a recording as camera topics over ROS, without rosbag2")
    play.add_argument(
        "recording", type=Path, help="ROS 2 bag (folder, .mcap, .db3), ROS 1 bag, video, image or folder of images"
    )
    play.add_argument(
        "--topics", nargs="+", default=(), metavar="TOPIC",
        help="topics of a bag; by default all images and camera_info, except outputs of semla_ros",
    )  # fmt: skip
    play.add_argument(
        "-m", "--remap", nargs="+", type=_renaming, default=(), metavar="OLD:=NEW",
        help="play topics of a bag under other names, for example /camera/image_raw:=/front/image",
    )  # fmt: skip
    play.add_argument(
        "--image-topic", default="", metavar="TOPIC", help="topic of a video or of image files (/camera/image_raw)"
    )
    play.add_argument(
        "--fps", type=above_zero, help="frame rate of image files; by default 10, or the times in their names"
    )
    play.add_argument("-r", "--rate", type=above_zero, default=1.0, help="speed, as a multiple of the recorded one")
    play.add_argument(
        "--start", type=zero_or_more, default=0.0, metavar="S", help="time to leave out at the beginning, s"
    )
    play.add_argument("--duration", type=above_zero, metavar="S", help="time to play, seconds of the recording")
    play.add_argument("-l", "--loop", action="store_true", help="begin again at the end, until Ctrl-C")
    play.add_argument(
        "--stamps", choices=("recorded", "now"),
        help="keep the recorded stamps (default of bags and of files named by times), or stamp each message with the"
        " present time, as a camera does (default of others)",
    )  # fmt: skip
    play.add_argument(
        "--clock", action="store_true", help="publish the recorded time on /clock, for nodes with use_sim_time:=true"
    )
    play.add_argument("--best-effort", action="store_true", help="publish best effort, as many cameras do")
    play.add_argument(
        "--wait", type=zero_or_more, default=60.0, metavar="S",
        help="longest time to wait for a subscriber of the images (%(default)g s); 0 plays at once",
    )  # fmt: skip


def _play(args: argparse.Namespace) -> None:
    from semla_ros.errors import SemlaError
    from semla_ros.node.environment import name_prefix
    from semla_ros.node.signals import Stopping, run_until_signal
    from semla_ros.progress import ProgressBar
    from semla_ros.recordings.playback import CAMERA_INFO, open_playback

    name_prefix()
    from semla_ros.node.player import Pace, PlayError, play

    playback = open_playback(args.recording, args.topics, dict(args.remap), args.image_topic, args.fps)
    restamp = args.stamps == "now" or (args.stamps is None and not playback.is_timed and not args.clock)
    if args.clock and restamp:
        raise PlayError("--clock needs the recorded stamps", where="--stamps", got="now", expected="recorded")
    pace = Pace(args.rate, args.start, args.duration, args.loop, restamp, args.clock, not args.best_effort, args.wait)
    for topic, kind in playback.topics.items():
        print(f"{topic}  {kind}", flush=True)
    whole = not (args.start or args.duration or args.loop)
    bar = ProgressBar(total=playback.image_count if whole else None, desc="play", unit="image")

    def run(stopping: Stopping) -> int:
        try:
            play(
                playback, pace, stopping, lambda message: bar.update(message.kind != CAMERA_INFO),
                lambda error: bar.write(f"semla: {error}", file=sys.stderr),
            )  # fmt: skip
        except SemlaError as error:
            print(f"semla: {error}", file=sys.stderr)
            return 1
        finally:
            bar.close()
        return 0

    code = run_until_signal(run)
    if code:
        sys.exit(code)


def _renaming(text: str) -> tuple[str, str]:
    """Parses OLD:=NEW, for argparse."""
    old, _, new = text.partition(":=")
    if not (old.strip("/") and new.strip("/")):
        raise argparse.ArgumentTypeError(f"got {text!r}, expected two topics, OLD:=NEW")
    return old, new
