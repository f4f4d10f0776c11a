"""English sentences that name a picture's domain and what is to be seen in it."""

from __future__ import annotations

from collections import Counter
from random import Random

from semla_ros.streetworld.domains import Domain
from semla_ros.streetworld.layout import Layout

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


def caption(plan: Layout, seen: Counter[str], domain: Domain, rng: Random) -> str:
    """One sentence.

    Args:
        plan: Cross-section of the place.
        seen: Visible things by kind, as `render.Layers.seen` counts them.
        domain: Light and weather.
        rng: Chooses the words.
    """
    scene = f"{_article(_subject(plan, rng))} {rng.choice(domain.words)}"
    content = _content(plan, seen, rng)
    if not content:
        return rng.choice(OPENINGS) + scene
    if rng.random() < 0.25:
        return f"{content}, {scene}"
    return f"{rng.choice(OPENINGS)}{scene} with {content}"


def _subject(plan: Layout, rng: Random) -> str:
    if plan.place == "corridor":
        return rng.choice(["narrow ", "", "tight "] if plan.road < 1.8 else ["wide ", "", "broad "]) + rng.choice(
            ["corridor", "hallway", "passage"]
        )
    nouns = ["road", "forest road", "woodland road"] if plan.place == "forest" else ["street", "road", "city street"]
    width = ["narrow ", "", "small "] if plan.road < 4.2 else ["wide ", "", "broad "]
    return rng.choice(width if plan.road < 4.2 or plan.road > 6.0 else [""]) + rng.choice(nouns)


def _content(plan: Layout, seen: Counter[str], rng: Random) -> str:
    names = [
        kind for kind in SYNONYMS if seen[kind] and (kind, plan.place) not in (("tree", "forest"), ("lamp", "corridor"))
    ]
    names.sort(key=lambda kind: rng.random() + (0.4 if kind not in ("car", "person") else 0.0))
    phrases = [_counted(seen[kind], rng.choice(SYNONYMS[kind]), rng) for kind in names[: rng.randrange(1, 4)]]
    if not seen["car"] and plan.place != "corridor" and rng.random() < 0.4:
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
