"""English captions that name the domain of an image and the objects in it. The bundled CLIP was trained on them."""

from __future__ import annotations

from collections import Counter
from random import Random

from semla_ros.streetworld.domains import Domain
from semla_ros.streetworld.layout import StreetLayout

NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
PLURALS = {"person": "people", "pedestrian": "pedestrians", "bush": "bushes"}
SYNONYMS = {
    "car": ("car", "vehicle", "automobile"),
    "person": ("pedestrian", "person", "walker"),
    "tree": ("tree",),
    "wall": ("wall", "brick wall"),
    "fence": ("fence",),
    "sign": ("traffic sign", "road sign"),
    "traffic light": ("traffic light", "signal light"),
    "building": ("house", "building"),
    "hedge": ("hedge",),
    "lamp": ("street lamp", "lamp post"),
    "door": ("door",),
    "bush": ("bush",),
}
OPENINGS = ("", "", "a picture of ", "a photo of ", "a view of ", "a camera image of ", "a dashcam frame of ")


def caption(layout: StreetLayout, visible: Counter[str], domain: Domain, rng: Random) -> str:
    """Writes one caption.

    Args:
        layout: Cross-section of the place.
        visible: Number of visible objects of each kind, see `Layers.visible`.
        domain: Domain of the image.
        rng: Random generator that chooses the words.
    """
    scene = f"{_article(_subject(layout, rng))} {rng.choice(domain.phrases)}"
    content = _content(layout, visible, rng)
    if not content:
        return rng.choice(OPENINGS) + scene
    if rng.random() < 0.25:
        return f"{content}, {scene}"
    return f"{rng.choice(OPENINGS)}{scene} with {content}"


def _subject(layout: StreetLayout, rng: Random) -> str:
    if layout.place == "corridor":
        return rng.choice(["narrow ", "", "tight "] if layout.road < 1.8 else ["wide ", "", "broad "]) + rng.choice(
            ["corridor", "hallway", "passage"]
        )
    nouns = ["road", "forest road", "woodland road"] if layout.place == "forest" else ["street", "road", "city street"]
    width = ["narrow ", "", "small "] if layout.road < 4.2 else ["wide ", "", "broad "]
    return rng.choice(width if layout.road < 4.2 or layout.road > 6.0 else [""]) + rng.choice(nouns)


def _content(layout: StreetLayout, visible: Counter[str], rng: Random) -> str:
    implied = {"forest": "tree", "corridor": "lamp"}.get(layout.place)
    names = [kind for kind in SYNONYMS if visible[kind] and kind != implied]
    names.sort(key=lambda kind: rng.random() + (0.4 if kind not in ("car", "person") else 0.0))
    phrases = [_counted(visible[kind], rng.choice(SYNONYMS[kind]), rng) for kind in names[: rng.randrange(1, 4)]]
    if not visible["car"] and layout.place != "corridor" and rng.random() < 0.4:
        phrases.append("no cars")
    if not phrases:
        return ""
    return " and ".join(filter(None, [", ".join(phrases[:-1]), phrases[-1]]))


def _counted(count: int, noun: str, rng: Random) -> str:
    many = PLURALS.get(noun, noun + "s")
    if count == 1:
        return rng.choice([_article(noun), f"one {noun}"])
    if count < len(NUMBERS):
        return rng.choice([f"{NUMBERS[count]} {many}", f"{NUMBERS[count]} {many}", f"some {many}"])
    return rng.choice([f"many {many}", f"several {many}"])


def _article(noun: str) -> str:
    return ("an " if noun[0] in "aeio" else "a ") + noun
