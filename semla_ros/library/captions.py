"""Captions of centroids: CLIP zero-shot over sentences that name a place, a weather, a time of day and a view.

SemLA describes its adapters by captions in its supplement, Table 4. A whole sentence is compared and not one attribute
at a time, because CLIP has learned from whole sentences.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from semla_ros.errors import BundleError
from semla_ros.library.manifest import check_listed
from semla_ros.library.untrusted_file import check_file
from semla_ros.whole_file import whole_file

CAPTIONS = "captions.npz"  # in the folder of a bundle
MAX_BYTES = 2**26
OUTDOORS = ("a street", "a highway", "a parking lot", "a road through the woods", "a country road between fields")
INDOORS = ("a corridor inside a building", "a room", "a tunnel")
WEATHERS = ("clear", "rainy", "foggy", "snowy")
TIMES = {"day": "on a {} day", "dusk": "at dusk in {} weather", "night": "on a {} night"}
VIEWS = ("through a dirty lens", "badly overexposed")
Array = NDArray[np.float64]


@dataclass(frozen=True)
class Caption:
    """A sentence about an image. An empty attribute is not mentioned.

    Attributes:
        place: Kind of place.
        weather: Weather, an adjective; empty indoors and where the view hides it.
        time: Time of day; empty where the weather is.
        view: State of the camera; empty if nothing disturbs it.
    """

    place: str
    weather: str
    time: str
    view: str

    @property
    def text(self) -> str:
        """The sentence."""
        condition = TIMES[self.time].format(self.weather) if self.time in TIMES else ""
        return " ".join(filter(None, ("a photo of", self.place, condition, self.view)))


ATTRIBUTES = tuple(field.name for field in fields(Caption))


def vocabulary(outdoors: Sequence[str] = OUTDOORS, indoors: Sequence[str] = INDOORS) -> list[Caption]:
    """Returns all captions of these places: with weather and time of day outdoors, or with a disturbed view."""
    clean = [Caption(place, weather, time, "") for place, weather, time in product(outdoors, WEATHERS, TIMES)]
    disturbed = [Caption(place, "", "", view) for place, view in product((*outdoors, *indoors), VIEWS)]
    return clean + [Caption(place, "", "", "") for place in indoors] + disturbed


@dataclass(frozen=True)
class Description:
    """The caption that fits a centroid best.

    Attributes:
        caption: The caption.
        score: Cosine between its embedding and the centroid, -1 to 1.
        margins: Attribute to how much lower the best caption scores in which that attribute is another one.
    """

    caption: Caption
    score: float
    margins: Mapping[str, float]


class CaptionTable:
    """Captions and their text embeddings, in the joint space of image and text of a navigator.

    Args:
        captions: N captions.
        embeddings: Their embeddings (N, D), of any length.
    """

    def __init__(self, captions: Sequence[Caption], embeddings: Array) -> None:
        self.captions = tuple(captions)
        self.embeddings = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)

    @classmethod
    def encoded(cls, captions: Sequence[Caption], encode: Callable[[Sequence[str]], Array]) -> CaptionTable:
        """Encodes captions with the text encoder that was trained together with the navigator."""
        return cls(captions, encode([each.text for each in captions]))

    @classmethod
    def load(cls, path: Path) -> CaptionTable:
        """Reads what `save` has written.

        Raises:
            BundleError: The file is missing, damaged or not that of the manifest.
        """
        try:
            check_file(path, MAX_BYTES)
            check_listed(path, BundleError)
            _check_unpacked(path)
            with np.load(path, allow_pickle=False) as file:
                columns = [file[name].astype(str).tolist() for name in ATTRIBUTES]
                captions = [Caption(*row) for row in zip(*columns, strict=True)]
                embeddings = file["embeddings"].astype(np.float64)
            fits = embeddings.ndim == 2 and len(embeddings) == len(captions) > 0
            if not fits or not np.isfinite(embeddings).all():
                raise ValueError(f"{len(captions)} captions with embeddings of shape {embeddings.shape}")
        except BundleError:
            raise
        except Exception as error:  # NumPy and zipfile report a damaged file by a dozen exception types
            raise BundleError("unreadable captions", where=path, hint=str(error)) from error
        return cls(captions, embeddings)

    def save(self, path: Path) -> None:
        """Writes the captions, and the embeddings as float16."""
        rows = [asdict(each) for each in self.captions]
        columns = {name: np.array([row[name] for row in rows]) for name in ATTRIBUTES}
        with whole_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, embeddings=self.embeddings.astype(np.float16), **columns)  # type: ignore[arg-type]

    def describe(self, centroid: Array) -> Description:
        """Finds the caption that fits a centroid (D,) best.

        Raises:
            BundleError: The centroid has another dimension than the embeddings.
        """
        if centroid.shape != self.embeddings.shape[1:]:
            raise BundleError(
                "captions of another navigator", got=f"dimension {self.embeddings.shape[1]}", expected=len(centroid)
            )
        scores = self.embeddings @ (centroid / max(float(np.linalg.norm(centroid)), 1e-12))
        best = int(scores.argmax())
        margins = {name: float(scores[best] - self._best_other(scores, best, name)) for name in ATTRIBUTES}
        return Description(self.captions[best], float(scores[best]), margins)

    def _best_other(self, scores: Array, best: int, attribute: str) -> float:
        """Highest score of a caption with another value of an attribute; -1 if there is none."""
        mine = getattr(self.captions[best], attribute)
        return max(
            (s for s, c in zip(scores, self.captions, strict=True) if getattr(c, attribute) != mine), default=-1.0
        )


def _check_unpacked(path: Path) -> None:
    """Refuses a small archive that would fill the memory."""
    with zipfile.ZipFile(path) as archive:
        size = sum(each.file_size for each in archive.infolist())
    if size > MAX_BYTES:
        raise ValueError(f"{size} bytes when unpacked, more than {MAX_BYTES}")


def copy_captions(source: Path, bundle: Path) -> None:
    """Copies the captions of a bundle, if it has any, to a new bundle with the same navigator, before its manifest."""
    if (source / CAPTIONS).is_file():
        shutil.copy(source / CAPTIONS, bundle / CAPTIONS)
