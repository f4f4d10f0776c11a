"""The camera of the demo: publishes a recorded drive at its original speed."""

from __future__ import annotations

import json
import sys
from functools import partial
from itertools import count
from pathlib import Path

from semla_ros.demo.topics import CAMERA_INFO, IMAGE
from semla_ros.errors import SemlaError
from semla_ros.node.environment import name_prefix
from semla_ros.node.signals import Stopping, run_until_signal
from semla_ros.recordings.playback import BagPlayback, CameraMessage

MATCH_S = 120.0


def main(bag: Path) -> int:
    """Publishes the images and camera_info of a bag with their stamps, as soon as the images have a subscriber.

    Prints ``{"sent": <number of images>}`` after each image. SIGINT and SIGTERM end it.

    Returns:
        Exit code: 0, or 1 if the images had no subscriber within `MATCH_S` seconds.
    """
    return run_until_signal(partial(_run, bag))


def _run(bag: Path, stopping: Stopping) -> int:
    name_prefix()
    from semla_ros.node.player import Pace, play

    numbers = count(1)

    def report(message: CameraMessage) -> None:
        if message.topic == IMAGE:
            print(json.dumps({"sent": next(numbers)}), flush=True)

    try:
        play(BagPlayback(bag, (CAMERA_INFO, IMAGE)), Pace(wait_s=MATCH_S), stopping, report)
    except SemlaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
