"""StreetWorld: rendered street scenes with varying light and weather, class labels and depth."""

CLASSES = (
    "road",
    "sidewalk",
    "building",
    "wall",
    "fence",
    "pole",
    "traffic light",
    "traffic sign",
    "vegetation",
    "sky",
    "person",
    "car",
)
