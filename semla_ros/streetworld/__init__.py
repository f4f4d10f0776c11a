"""StreetWorld: rendered street scenes with varying light and weather, class labels, instances and depth."""

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
THINGS = ("person", "car")  # classes whose objects are told apart; the others are stuff
