"""Errors whose messages name the problem, its place, the value found, the value expected and a remedy."""

from __future__ import annotations

from semla_ros.text import on_one_line

MAX_LENGTH = 300  # of each part: a value from outside may be a megabyte long


class SemlaError(Exception):
    """Base class of all errors that this package raises on purpose.

    Args:
        what: The problem, in a few words.
        where: File, topic, parameter or tensor with the problem.
        got: Value that was found.
        expected: Value that would have been right.
        hint: What the user can do about it.
    """

    def __init__(
        self, what: str, *, where: object = None, got: object = None, expected: object = None, hint: str | None = None
    ) -> None:
        parts = [what if where is None else f"{what} ({_short(where)})"]
        if got is not None:
            parts.append(f"got {_short(got)}")
        if expected is not None:
            parts.append(f"expected {_short(expected)}")
        message = ": ".join([parts[0], ", ".join(parts[1:])] if parts[1:] else parts)
        super().__init__(message if hint is None else f"{message.removesuffix('.')}. {hint}")


class ConfigError(SemlaError):
    """A setting is unknown, has the wrong type or is out of range."""


class ImageError(SemlaError):
    """An image cannot be decoded (unknown encoding, no data, truncated data, inconsistent size) or not be written."""


class RecordingError(SemlaError):
    """A bag, video or image folder cannot be read or contains no images."""


class BatchError(SemlaError):
    """A batch run cannot use its output folder or its workers, or had to leave out images."""


class TrainingError(SemlaError):
    """A training cannot run: its checkpoint or data set is damaged, or belongs to another training."""


class BundleError(SemlaError):
    """A model bundle is missing, incomplete or inconsistent."""


class AdapterError(SemlaError):
    """A LoRA adapter is damaged, or does not fit the segmenter."""


class EmbeddingError(SemlaError):
    """An embedding contains NaN or infinity, or has the wrong dimension."""


class ArchiveError(SemlaError):
    """An archive is damaged, of an unsupported kind, too large, or would write outside its folder."""


class FetchError(SemlaError):
    """A download is unreachable or incomplete, or its content is not the published one."""


class FusionError(AdapterError):
    """The fused weights are not finite, or a weight difference belongs to another network."""


class SegmentationError(SemlaError):
    """The segmenter failed on an image, for example because memory ran out."""


def _short(value: object) -> str:
    """Text of a value, with its middle left out where it is long."""
    text = on_one_line(value)
    half = MAX_LENGTH // 2
    return text if len(text) <= MAX_LENGTH else f"{text[:half]}... ({len(text)} characters) ...{text[-half:]}"
