"""Errors whose messages say what went wrong, where, what was found, what was expected and what to do."""

from __future__ import annotations


class SemlaError(Exception):
    """Base of every error this package raises on purpose.

    Args:
        what: The thing that is wrong, in a few words.
        where: The file, topic, parameter or tensor it was found in.
        got: The offending value.
        expected: What would have been right.
        hint: What the reader can do about it.
    """

    def __init__(
        self, what: str, *, where: object = None, got: object = None, expected: object = None, hint: str | None = None
    ) -> None:
        parts = [what if where is None else f"{what} ({where})"]
        if got is not None:
            parts.append(f"got {got}")
        if expected is not None:
            parts.append(f"expected {expected}")
        message = ": ".join([parts[0], ", ".join(parts[1:])] if parts[1:] else parts)
        super().__init__(message if hint is None else f"{message}. {hint}")


class ConfigError(SemlaError):
    """A setting is unknown, of the wrong type or out of range."""


class ImageError(SemlaError):
    """A image cannot be decoded: unknown encoding, empty, truncated, inconsistent size."""


class RecordingError(SemlaError):
    """A bag, video or image folder cannot be read or holds no images."""


class BundleError(SemlaError):
    """A model bundle is missing, incomplete or inconsistent."""


class AdapterError(SemlaError):
    """A LoRA adapter is truncated, or does not fit the segmenter it is meant for."""


class EmbeddingError(SemlaError):
    """An embedding holds NaN or infinity, or has the wrong dimension."""


class ArchiveError(SemlaError):
    """An archive is damaged, or would write outside its folder."""


class FetchError(SemlaError):
    """A download cannot be reached, breaks off, or is not what it should be."""


class FusionError(AdapterError):
    """Adapters whose fused weights are not finite."""


class SegmentationError(SemlaError):
    """The segmenter failed on an image, for example because memory ran out."""
