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


def are_things(classes: Sequence[str], things: Collection[str]) -> tuple[bool, ...]:
    """Returns for each class whether one of its synonyms, which stand after commas, names a thing."""
    return tuple(any(word.strip().lower() in things for word in name.split(",")) for name in classes)
