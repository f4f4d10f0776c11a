"""Brings camera image, mask and confidence image of the same stamp together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import ImageError, SemlaError
from semla_ros.images.classes import ClassInfo, Labels
from semla_ros.images.conversion import decode, decode_compressed
from semla_ros.images.encodings import buffer, encoding_of, pixels
from semla_ros.topics.messages import stamp_ns
from semla_ros.view.scene import Scene, anonymous

MAX_WAITING = 90  # camera images that wait for their masks: three seconds at 30 per second
MAX_WAITING_BYTES = 256 * 2**20


@dataclass
class Pairing:
    """Collects messages and makes a scene when all that belongs to one stamp is there.

    Camera images wait undecoded, because most of them may never get a mask. A mask whose image has not come is shown
    without it as soon as the next mask comes.

    Attributes:
        classes: The classes of the masks; empty while they are not known.
        blended: Whether the images already contain the colours of the classes.
        has_images: Whether images are expected.
        missing: Number of masks in a row that were shown without their image.
        error: Why the last image could not be decoded; empty if it could.
    """

    classes: Sequence[ClassInfo] = ()
    blended: bool = False
    has_images: bool = True
    missing: int = 0
    error: str = ""
    _images: dict[int, Any] = field(default_factory=dict)
    _mask: tuple[int, Labels] | None = None
    _confidence: tuple[int, NDArray[np.uint8]] | None = None

    def image(self, message: Any) -> Scene | None:
        """Takes a camera image; returns the scene if it is complete now."""
        self._images[stamp_ns(message.header)] = message
        while len(self._images) > MAX_WAITING or self._waiting_bytes() > MAX_WAITING_BYTES:
            del self._images[next(iter(self._images))]
        return self._complete()

    def mask(self, message: Any) -> Scene | None:
        """Takes a mask; returns the scene if it is complete now, or that of the mask before."""
        late = self.flush()
        self._mask = stamp_ns(message.header), labels_of(message)
        return self._complete() or late

    def confidence(self, message: Any) -> Scene | None:
        """Takes a confidence image; returns the scene if it is complete now."""
        self._confidence = stamp_ns(message.header), confidence_of(message)
        return self._complete()

    def _complete(self) -> Scene | None:
        if self._mask is None or self._confidence is None:
            return None
        stamp = self._mask[0]
        if self._confidence[0] != stamp or (self.has_images and stamp not in self._images):
            return None
        return self.flush()

    def flush(self) -> Scene | None:
        """The scene of the mask that waits, with what has come; None if no mask waits."""
        if self._mask is None:
            return None
        stamp, labels = self._mask
        confidence = self._confidence[1] if self._confidence and self._confidence[0] == stamp else None
        rgb = self._image_of(stamp)
        self._mask = None
        return Scene(stamp, rgb, labels, confidence, self.classes or anonymous(labels), self.blended)

    def _image_of(self, stamp: int) -> NDArray[np.uint8] | None:
        """The decoded image of a stamp. Older images, which get no mask any more, are forgotten."""
        message = self._images.pop(stamp, None)
        self.missing = 0 if message is not None or not self.has_images else self.missing + 1
        if message is None:
            return None
        for older in [each for each in self._images if each < stamp]:
            del self._images[older]
        try:
            rgb = decode_compressed(message) if hasattr(message, "format") else decode(message)
        except SemlaError as error:
            self.error = str(error)
            return None
        self.error = ""
        return rgb

    def _waiting_bytes(self) -> int:
        return sum(len(message.data) for message in self._images.values())


def confidence_of(message: Any) -> NDArray[np.uint8]:
    """round(255 p) of a confidence message, mono8 or 32FC1.

    Raises:
        ImageError: The message is damaged or of another encoding.
    """
    if message.encoding != "32FC1":
        return pixels(message, encoding_of(message)).astype(np.uint8)
    got, needed = buffer(message.data).nbytes, 4 * message.width * message.height
    if got != needed or not needed:
        raise ImageError("confidence image of a wrong size", got=f"{got} bytes", expected=f"{needed} bytes")
    values = np.frombuffer(buffer(message.data), np.float32).reshape(message.height, message.width)
    return np.asarray((255 * np.nan_to_num(values)).clip(0, 255).round().astype(np.uint8))


def labels_of(message: Any) -> Labels:
    """The class ids of a mask message.

    Raises:
        ImageError: The message is damaged or of another encoding.
    """
    values = pixels(message, encoding_of(message))
    return values if values.dtype in (np.uint8, np.uint16) else values.astype(np.uint16)


def classes_of(message: Any) -> tuple[ClassInfo, ...]:
    """The classes of a message of ``segmentation/labels``.

    Raises:
        KeyError: A part of a class is missing.
        ValueError: The message is not JSON.
    """
    listed = json.loads(message.data)
    return tuple(ClassInfo(int(each["id"]), str(each["name"]), tuple(each["color"])) for each in listed)
