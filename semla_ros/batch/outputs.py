"""The files of a batch run: masks, confidences, the classes and the manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from semla_ros.adaptation.retrieval import Mixture
from semla_ros.batch.ledger import Ledger
from semla_ros.batch.rows import Segmented
from semla_ros.batch.sources import STATE, Source
from semla_ros.errors import BatchError
from semla_ros.images.classes import ClassInfo
from semla_ros.images.files import write_whole, writing
from semla_ros.whole_file import whole_file

MASKS, CONFIDENCES, MANIFEST, CLASSES = "masks", "confidence", "manifest.jsonl", "classes.json"


class Outputs:
    """The output folder.

    Args:
        folder: The folder; created if missing.
        sources: The recordings, in order.

    Raises:
        BatchError: The folder holds masks or confidences, and not the state of the run that made them.
        ImageError: The folder cannot be written.
    """

    def __init__(self, folder: Path, sources: Sequence[Source]) -> None:
        self.folder, self._sources = folder, sources
        if not (folder / STATE).exists():
            _check_is_free(folder)
        with writing(folder):
            for source in sources:
                for kind in (MASKS, CONFIDENCES):
                    (folder / kind / source.label).mkdir(parents=True, exist_ok=True)

    def write(self, result: Segmented, name: str) -> None:
        """Writes mask and confidence of an image.

        Raises:
            ImageError: The disk is full, or the folder cannot be written.
        """
        mask, confidence = self._files(result.source, name)
        write_whole(self.folder / mask, result.mask)
        write_whole(self.folder / confidence, result.confidence)

    def exist(self, source: int, name: str) -> bool:
        """Returns whether both files of an image exist. Every file that exists is complete."""
        return all((self.folder / file).is_file() for file in self._files(source, name))

    def write_classes(self, classes: Sequence[ClassInfo]) -> None:
        """Writes id, name and colour of each class.

        Raises:
            ImageError: As for `write`.
        """
        text = json.dumps([asdict(each) for each in classes], indent=2)
        write_whole(self.folder / CLASSES, f"{text}\n".encode())

    def write_manifest(self, ledger: Ledger) -> None:
        """Writes one line of JSON for each image: where it comes from, its cluster, mixture and files, or its error.

        Raises:
            ImageError: As for `write`.
        """
        _, mixtures = ledger.clusters()
        described = [_described(mixture) for mixture in mixtures]
        place = self.folder / MANIFEST
        with writing(place), whole_file(place) as partial, partial.open("w") as lines:
            for source, number, name, stamp_ns, cluster in ledger.frames():
                mask, confidence = self._files(source, name)
                files = {"mask": str(mask), "confidence": str(confidence)}
                image = {**self._image(source, number), "name": name, "stamp_ns": stamp_ns, "cluster": cluster}
                lines.write(json.dumps({**image, **described[cluster], **files}) + "\n")
            for source, number, error in ledger.skipped():
                lines.write(json.dumps({**self._image(source, number), "error": error}) + "\n")

    def _image(self, source: int, number: int) -> dict[str, Any]:
        return {"source": str(self._sources[source].path), "frame": number}

    def _files(self, source: int, name: str) -> tuple[Path, Path]:
        """Mask and confidence of an image, relative to the folder."""
        label = self._sources[source].label
        return Path(MASKS, label, f"{name}.png"), Path(CONFIDENCES, label, f"{name}.png")


def _check_is_free(folder: Path) -> None:
    """Refuses files of another run, which would be taken for results of this one."""
    for kind in (MASKS, CONFIDENCES):
        found = next((file for file in (folder / kind).rglob("*") if file.is_file()), None)
        if found:
            raise BatchError(
                "files of a run whose state is lost", where=found, expected=f"{STATE} beside {kind}/",
                hint="Choose another folder, or remove the files.",
            )  # fmt: skip


def _described(mixture: Mixture) -> dict[str, Any]:
    weights = dict(zip(mixture.names, (round(weight, 4) for weight in mixture.weights), strict=True))
    return {"mixture": weights, "support": round(mixture.support, 5)}
