"""Checksum of what a training reads. It is kept in the checkpoint: a training continues with the same data alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from semla_ros.training.images import Images


@dataclass(frozen=True)
class Fingerprint:
    """A part of a checkpoint, see `semla_ros.training.checkpoint.Checkpoint`.

    Attributes:
        sha256: SHA-256 of images, label maps and base weights, hexadecimal.
    """

    sha256: str

    @classmethod
    def of(cls, images: Images, weights: Mapping[str, Tensor]) -> Fingerprint:
        """Returns the fingerprint of images, their label maps, and the base weights of a network."""
        digest = hashlib.sha256()
        for pixels in (images.images, images.labels):
            digest.update(str(pixels.shape).encode())
            digest.update(pixels.data)
        for name, tensor in weights.items():
            digest.update(f"{name} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().data)
        return cls(digest.hexdigest())

    def state_dict(self) -> dict[str, str]:
        """Returns what the checkpoint keeps."""
        return {"sha256": self.sha256}

    def load_state_dict(self, state: Mapping[str, str]) -> None:
        """Compares the fingerprint with that of a checkpoint.

        Raises:
            ValueError: They differ.
        """
        if state["sha256"] != self.sha256:
            raise ValueError("other images, label maps or base weights than now")
