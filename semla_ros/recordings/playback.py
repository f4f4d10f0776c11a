"""The camera messages of a recording in the form and the order in which a camera driver would publish them."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from semla_ros.errors import RecordingError
from semla_ros.images.frame import SECOND_NS
from semla_ros.recordings import OnError, Recording, is_bag, open_recording
from semla_ros.recordings.bag import is_output
from semla_ros.recordings.bag_files import BagFiles
from semla_ros.recordings.recording import refuse
from semla_ros.recordings.writer import STORE, new
from semla_ros.topics import messages

IMAGE, COMPRESSED, CAMERA_INFO = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "CameraInfo"))
KINDS = CAMERA_INFO, IMAGE, COMPRESSED  # in the order of publication: image and intrinsics have the same time
IMAGE_TOPIC = "/camera/image_raw"


@dataclass(frozen=True, slots=True)
class CameraMessage:
    """One message of a camera.

    Attributes:
        time_ns: Time at which it is due, nanoseconds of the recording.
        topic: Full name of its topic.
        kind: Type, one of `KINDS`.
        data: Serialized message (CDR).
    """

    time_ns: int
    topic: str
    kind: str
    data: bytes

    def stamped(self, stamp_ns: int) -> CameraMessage:
        """The message with another stamp, nanoseconds. All `KINDS` begin with their header, whose stamp is first."""
        order = "<" if self.data[1] & 1 else ">"
        stamp = struct.pack(f"{order}iI", *divmod(stamp_ns, SECOND_NS))
        return replace(self, data=self.data[:4] + stamp + self.data[12:])


class Playback(ABC):
    """The camera topics of a recording.

    Attributes:
        path: File or folder.
        topics: Full name and type of each topic.
        image_count: Number of images; None if only reading can tell.
        is_timed: Whether the stamps are times of a clock; those of videos and of numbered images begin at 0.
    """

    is_timed: bool

    def __init__(self, path: Path, topics: Mapping[str, str], image_count: int | None) -> None:
        self.path, self.topics, self.image_count = path, topics, image_count

    def messages(
        self, start_s: float = 0.0, duration_s: float | None = None, on_error: OnError = refuse
    ) -> Iterator[CameraMessage]:
        """Yields the messages in order of time; of those with the same time, camera_info comes first.

        Args:
            start_s: Time to leave out at the beginning, seconds.
            duration_s: Time to play, seconds; None plays to the end.
            on_error: Called with the error of each message that cannot be read.

        Raises:
            RecordingError: The recording is damaged.
        """
        first_ns = None
        for time_ns, together in groupby(self._read(on_error), key=lambda message: message.time_ns):
            first_ns = time_ns if first_ns is None else first_ns
            seconds = 1e-9 * (time_ns - first_ns) - start_s
            if duration_s is not None and seconds > duration_s:
                return
            if seconds >= 0:
                yield from sorted(together, key=lambda message: KINDS.index(message.kind))

    @abstractmethod
    def _read(self, on_error: OnError) -> Iterator[CameraMessage]:
        """Yields all messages in order of time."""


class BagPlayback(Playback):
    """Topics of a bag. Times are those of the recording, which may differ from the stamps."""

    is_timed = True

    def __init__(self, path: Path, wanted: Sequence[str] = (), remap: Mapping[str, str] | None = None) -> None:
        self._bag = BagFiles(path)
        found = self._bag.topics(KINDS)
        self._names = _chosen(path, wanted, found)
        self._played = _remapped(path, self._names, remap or {})
        kinds = {self._played[name]: found[name][0] for name in self._names}
        super().__init__(path, kinds, sum(found[name][1] for name in self._names if found[name][0] != CAMERA_INFO))

    def _read(self, on_error: OnError) -> Iterator[CameraMessage]:
        with closing(self._bag.messages(self._names)) as messages:
            for message in messages:
                try:
                    data = self._bag.cdr(message)
                except RecordingError as error:
                    on_error(error)
                else:
                    yield CameraMessage(message.time_ns, self._played[message.topic], message.kind, data)


class ImagePlayback(Playback):
    """A video or image files, as rgb8 images of one topic."""

    def __init__(self, recording: Recording, topic: str = IMAGE_TOPIC) -> None:
        self._recording, self._topic = recording, _full(topic)
        super().__init__(recording.path, {self._topic: IMAGE}, recording.frame_count)
        first = next(recording.frames(lambda error: None), None)
        self.is_timed = first is not None and first.stamp_ns >= SECOND_NS

    def _read(self, on_error: OnError) -> Iterator[CameraMessage]:
        for frame in self._recording.frames(on_error):
            image = messages.image(messages.header(frame.stamp_ns, frame.frame_id, new), frame.rgb, new)
            yield CameraMessage(frame.stamp_ns, self._topic, IMAGE, bytes(STORE.serialize_cdr(image, IMAGE)))


def open_playback(
    path: Path, topics: Sequence[str] = (), remap: Mapping[str, str] | None = None, image_topic: str = "",
    fps: float | None = None,
) -> Playback:  # fmt: skip
    """Opens a recording of any supported kind to be played.

    Args:
        path: As for `semla_ros.recordings.open_recording`.
        topics: Topics of a bag to play. By default all images and camera_info that are not outputs of the node.
        remap: Name of a topic of a bag to the name that it is played under; other topics keep their names.
        image_topic: Topic of the images of a video or of image files; `IMAGE_TOPIC` if empty.
        fps: As for `semla_ros.recordings.open_recording`.

    Raises:
        RecordingError: The recording cannot be read, it has no such topics, or an option is given that this kind of
            recording does not have.
    """
    if path.exists() and is_bag(path) and fps is None:
        if image_topic:
            hint = "--remap OLD:=NEW plays a topic under another name."
            raise RecordingError(
                "a bag has topics of its own", where=path, got=f"--image-topic {image_topic}", hint=hint
            )
        return BagPlayback(path, topics, remap)
    recording = open_recording(path, fps=fps)
    if topics or remap:
        hint = "A video and image files have one topic, --image-topic."
        raise RecordingError("only a bag has topics", where=path, got=", ".join([*topics, *(remap or {})]), hint=hint)
    return ImagePlayback(recording, image_topic or IMAGE_TOPIC)


def _full(topic: str) -> str:
    return f"/{topic.strip('/')}"


def _chosen(path: Path, wanted: Sequence[str], found: Mapping[str, tuple[str, int]]) -> list[str]:
    """Names of the topics to play, as the bag spells them.

    Raises:
        RecordingError: A wanted topic is not in the bag, or there is no topic to play.
    """
    spelt = {name.strip("/"): name for name in found}
    for name in wanted:
        if name.strip("/") not in spelt:
            expected = "one of " + (", ".join(sorted(found)) or "none: it has no camera topics")
            raise RecordingError("no such camera topic", where=path, got=name, expected=expected)
    if wanted:
        return [spelt[name.strip("/")] for name in wanted]
    cameras = [name for name, (_, count) in found.items() if count and not is_output(name)]
    if not cameras:
        raise RecordingError("no camera topics in it", where=path, expected=" or ".join(KINDS))
    return cameras


def _remapped(path: Path, names: Sequence[str], remap: Mapping[str, str]) -> dict[str, str]:
    """Topic as the bag spells it to the full name that it is played under.

    Raises:
        RecordingError: A topic to rename is not played, or two topics would have one name.
    """
    played = {name: _full(name) for name in names}
    given = {_full(old): _full(new) for old, new in remap.items()}
    if stray := sorted(given.keys() - played.values()):
        expected = "one of " + ", ".join(sorted(played.values()))
        raise RecordingError("no such topic to rename", where=path, got=stray[0], expected=expected)
    out = {name: given.get(full, full) for name, full in played.items()}
    if twice := [name for name, count in Counter(out.values()).items() if count > 1]:
        raise RecordingError("two topics with one name", where=path, got=twice[0])
    return out
