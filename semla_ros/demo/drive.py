"""The drive of the demo: rendered once and then reused, with its true domains."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from semla_ros import streetworld
from semla_ros.errors import RecordingError
from semla_ros.recordings.bag_files import BagFiles
from semla_ros.streetworld.drive import Drive, write_drive

DOMAIN = "/camera/domain"
KEY = "drive.sha256"
MARKER = ".semla_demo"  # an empty file in a folder of results


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the drive with one domain, or a transition between two domains.

    Attributes:
        domain: The domain; in a transition the next one.
        steady: False in a transition.
        begin_ns: Stamp of the first image.
        end_ns: Stamp of the first image of the next stretch.
    """

    domain: str
    steady: bool
    begin_ns: int
    end_ns: int

    @property
    def name(self) -> str:
        """Name for people, for example "fog_day" or, in a transition, "to fog_day"."""
        return self.domain if self.steady else f"to {self.domain}"

    @property
    def middle_ns(self) -> int:
        """Stamp of the middle."""
        return (self.begin_ns + self.end_ns) // 2


def rendered(folder: Path, drive: Drive) -> Path:
    """Returns the drive as a bag in ``folder``. It is rendered unless the same drive is there already.

    Raises:
        RecordingError: There are other files in the place of the bag.
    """
    bag, key = folder / "drive", fingerprint(drive)
    if (bag / KEY).is_file() and (bag / KEY).read_text() == key:
        return bag
    make_room(bag)
    write_drive(bag, drive)
    (bag / KEY).write_text(key)
    return bag


def fingerprint(drive: Drive) -> str:
    """Hash of the settings of a drive and of the code that renders it."""
    settings = (drive.itinerary.legs, drive.seed, drive.camera, drive.rate_hz, drive.start_ns)
    digest = hashlib.sha256(repr(settings).encode())
    for file in sorted(Path(streetworld.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def claim(folder: Path) -> None:
    """Creates the folder of the results, or accepts that of an earlier demo.

    Raises:
        RecordingError: It holds other files, which the demo might replace.
    """
    marker = folder / MARKER
    if folder.is_dir() and any(folder.iterdir()) and not marker.exists():
        hint = "The demo replaces what it finds: choose a new folder."
        raise RecordingError("the folder holds files that are not of the demo", where=folder, hint=hint)
    folder.mkdir(parents=True, exist_ok=True)
    marker.touch()


def make_room(bag: Path) -> None:
    """Removes the bag of an earlier run, complete or not.

    Raises:
        RecordingError: The folder has files that do not belong to a bag.
    """
    if not bag.exists():
        return
    if not bag.is_dir() or any(file.name not in ("metadata.yaml", KEY, f"{bag.name}.mcap") for file in bag.iterdir()):
        raise RecordingError("the folder holds other files than a bag", where=bag, hint="Choose another folder.")
    shutil.rmtree(bag)


def stretches(bag: Path) -> tuple[Stretch, ...]:
    """Reads the stretches of a drive from its bag, in order of time."""
    moments = list(_moments(bag))
    period_ns = moments[1][0] - moments[0][0] if len(moments) > 1 else 0
    runs = [list(run) for _, run in groupby(moments, key=lambda moment: (moment[2], moment[2] and moment[1]))]
    ends = [after[0][0] for _, after in pairwise(runs)] + [moments[-1][0] + period_ns]
    return tuple(Stretch(run[-1][1], run[-1][2], run[0][0], end) for run, end in zip(runs, ends, strict=True))


def _moments(bag: Path) -> Iterator[tuple[int, str, bool]]:
    """Yields (stamp_ns, domain, steady) of each image. In a transition the domain is the nearer one."""
    files = BagFiles(bag)
    for message in files.messages({DOMAIN}):
        label = json.loads(files.deserialized(message).data)
        yield message.time_ns, label["domain"], label["steady"]
