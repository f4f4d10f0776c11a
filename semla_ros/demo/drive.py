"""The sample drive of the demo: rendered once, then reused; and what is true in it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path

from rosbags.highlevel import AnyReader

from semla_ros import streetworld
from semla_ros.errors import RecordingError
from semla_ros.streetworld.drive import Drive, write_drive

DOMAIN = "/camera/domain"
KEY = "drive.sha256"


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of the drive in which the weather stays, or passes from one domain to the next.

    Attributes:
        domain: Of the weather; of the weather that comes where it passes.
        steady: False where it passes.
        begin_ns: Stamp of the first image.
        end_ns: Stamp of the next stretch's first image.
    """

    domain: str
    steady: bool
    begin_ns: int
    end_ns: int

    @property
    def name(self) -> str:
        """In words, for example "fog_day" or "to fog_day"."""
        return self.domain if self.steady else f"to {self.domain}"

    @property
    def middle_ns(self) -> int:
        """The stamp half-way."""
        return (self.begin_ns + self.end_ns) // 2


def rendered(folder: Path, drive: Drive) -> Path:
    """The drive as a bag below ``folder``; rendered unless the very same drive is there already.

    Raises:
        RecordingError: Something else is in its place.
    """
    bag, key = folder / "drive", fingerprint(drive)
    if (bag / KEY).is_file() and (bag / KEY).read_text() == key:
        return bag
    make_room(bag)
    write_drive(bag, drive)
    (bag / KEY).write_text(key)
    return bag


def fingerprint(drive: Drive) -> str:
    """Differs where the drive differs, or the code that renders it."""
    settings = (drive.itinerary.legs, drive.seed, drive.camera, drive.rate_hz, drive.start_ns)
    digest = hashlib.sha256(repr(settings).encode())
    for file in sorted(Path(streetworld.__path__[0]).glob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def make_room(bag: Path) -> None:
    """Removes a bag of an earlier run, finished or not.

    Raises:
        RecordingError: What is there holds other files than a bag does.
    """
    if not bag.exists():
        return
    if not bag.is_dir() or any(file.name not in ("metadata.yaml", KEY, f"{bag.name}.mcap") for file in bag.iterdir()):
        raise RecordingError("something else is in the place of a bag", where=bag, hint="Choose another folder.")
    shutil.rmtree(bag)


def stretches(bag: Path) -> tuple[Stretch, ...]:
    """The stretches of a drive, in order."""
    moments = list(_moments(bag))
    period_ns = moments[1][0] - moments[0][0] if len(moments) > 1 else 0
    runs = [list(run) for _, run in groupby(moments, key=lambda moment: (moment[2], moment[2] and moment[1]))]
    ends = [after[0][0] for _, after in pairwise(runs)] + [moments[-1][0] + period_ns]
    return tuple(Stretch(run[-1][1], run[-1][2], run[0][0], end) for run, end in zip(runs, ends, strict=True))


def _moments(bag: Path) -> Iterator[tuple[int, str, bool]]:
    """Yields (stamp_ns, domain, steady) of each image; in passing weather the domain is the nearer one."""
    with AnyReader([bag]) as reader:
        connections = [each for each in reader.connections if each.topic == DOMAIN]
        for connection, stamp_ns, data in reader.messages(connections):
            told = json.loads(reader.deserialize(data, connection.msgtype).data)  # type: ignore[attr-defined]
            yield stamp_ns, told["domain"], told["steady"]
