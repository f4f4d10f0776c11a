"""A bag with the node's outputs, as the servers show it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

from semla_ros.errors import RecordingError, SemlaError
from semla_ros.images.frame import Frame
from semla_ros.recordings import OnError, Recording
from semla_ros.recordings.bag import Bag, cameras
from semla_ros.topics.domain import DomainSample
from semla_ros.topics.messages import stamp_ns
from semla_ros.topics.outputs import CONFIDENCE, LABELS, MASK, OVERLAY, STATE
from semla_ros.view.pairing import Pairing, classes_of
from semla_ros.view.scene import Scene

KINDS = "std_msgs/msg/String", "diagnostic_msgs/msg/DiagnosticArray"  # of the classes and of the domain state
Item = Scene | DomainSample


class NoResultsError(RecordingError):
    """A bag holds no masks of the node."""


class Results(Bag):
    """A bag that the node's topics were recorded to, or that ``semla replay`` wrote.

    Args:
        path: The bag.
        images: Recording of the camera's images, where the bag itself has none; they belong to masks of equal stamps.

    Raises:
        NoResultsError: The bag holds no masks.
        RecordingError: The bag cannot be read.
    """

    def __init__(self, path: Path, images: Recording | None = None) -> None:
        self._camera = ""
        super().__init__(path)
        self._separate = images

    def items(self, on_error: OnError) -> Iterator[Item]:
        """Yields the segmented images and the domain states in recorded order.

        Args:
            on_error: Called with the error of each message that cannot be read.

        Raises:
            RecordingError: The bag is damaged; what came before has been yielded.
        """
        pairing = Pairing(blended=self._is_blended, has_images=bool(self._camera) and self._separate is None)
        images = _Images(self._separate.frames(on_error)) if self._separate else None
        space = self.topic.removesuffix(MASK)
        takers: dict[str, Callable[[Any], Item | None]] = {
            self.topic: pairing.mask,
            f"{space}{CONFIDENCE}": pairing.confidence,
            self._own_or_common(LABELS): lambda message: _take_labels(pairing, message),
            self._own_or_common(STATE): _sample,
        }
        if pairing.has_images:
            takers[self._camera] = pairing.image
        with closing(self._bag.messages(takers)) as messages:
            for message in messages:
                try:
                    item = takers[message.topic](self._bag.deserialized(message))
                except (SemlaError, LookupError, TypeError, ValueError) as error:
                    on_error(RecordingError(f"message of {message.topic} at {1e-9 * message.time_ns:.3f} s: {error}"))
                    continue
                if item is not None:
                    yield images.beside(item) if images and isinstance(item, Scene) else item
        if last := pairing.flush():
            yield images.beside(last) if images else last

    def _own_or_common(self, name: str) -> str:
        """Topic of an output that a node with several cameras may publish once for all of them."""
        space = self.topic.removesuffix(MASK)
        common = f"{space.rstrip('/').rpartition('/')[0]}/"
        return f"{space}{name}" if f"{space}{name}" in self._bag.topics(KINDS) else f"{common}{name}"

    @property
    def _is_blended(self) -> bool:
        return self._camera.removesuffix("/compressed").endswith(OVERLAY)

    def _choose(self, topics: dict[str, int], topic: str | None, path: Path) -> str:
        """Chooses the mask's topic, and the camera's for the images beside it."""
        masks = [name for name, count in topics.items() if count and name.endswith(f"/{MASK}")]
        if not masks:
            raise NoResultsError("no masks in it", where=path, expected=f"a topic that ends in /{MASK}")
        space = masks[0].removesuffix(MASK)
        overlays = [name for name in (f"{space}{OVERLAY}", f"{space}{OVERLAY}/compressed") if topics.get(name)]
        found = cameras(topics)
        # Which of several cameras has these masks is not known; the overlay certainly belongs to them.
        self._camera = next(iter(found + overlays if len(found) == 1 else overlays + found), "")
        return masks[0]


class _Images:
    """The images of another recording, found by their stamps in one pass."""

    def __init__(self, frames: Iterator[Frame]) -> None:
        self._frames = frames
        self._frame = next(frames, None)

    def beside(self, scene: Scene) -> Scene:
        """The scene with its image, or as it is where there is none."""
        while self._frame is not None and self._frame.stamp_ns < scene.stamp_ns:
            self._frame = next(self._frames, None)
        if self._frame is None or self._frame.stamp_ns != scene.stamp_ns:
            return scene
        return Scene(scene.stamp_ns, self._frame.rgb, scene.labels, scene.confidence, scene.classes)


def _sample(message: Any) -> DomainSample | None:
    """The domain state; None for states from before the first image, which have no stamp."""
    stamp = stamp_ns(message.header)
    return DomainSample.of(stamp, {each.key: each.value for each in message.status[0].values}) if stamp else None


def _take_labels(pairing: Pairing, message: Any) -> None:
    pairing.classes = classes_of(message)
