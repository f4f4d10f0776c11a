"""Which classes are things: objects that can be counted, and so have instances."""

from __future__ import annotations

from collections.abc import Collection, Sequence

# The 80 things of COCO, and those of Cityscapes that COCO lacks.
THINGS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink",
    "refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
    "rider", "caravan", "trailer",
)  # fmt: skip


def are_things(classes: Sequence[str], things: Collection[str] = (), stuff: Collection[str] = ()) -> tuple[bool, ...]:
    """Returns for each class whether it has instances. Any of the synonyms, which stand after commas, decides.

    Args:
        classes: Names of the classes.
        things: Names of classes that have instances, besides `THINGS`.
        stuff: Names of classes that have none, though they may be among `THINGS`.
    """
    more, fewer = (_words(*names) for names in (things, stuff))
    return tuple(bool(words & more or (words & set(THINGS) and not words & fewer)) for words in map(_words, classes))


def _words(*names: str) -> set[str]:
    """The synonyms in names of classes, in small letters."""
    return {word.strip().lower() for name in names for word in name.split(",") if word.strip()}
