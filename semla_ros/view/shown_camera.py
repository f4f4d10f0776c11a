"""Which camera of the node is shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

SEPARATOR = ", "


@dataclass(frozen=True)
class ShownCamera:
    """One of the cameras that the node names in its report in /diagnostics.

    Attributes:
        name: Its name; empty for the only camera of a node.
        topic: Full name of the topic of its images; empty while the node does not subscribe.
        reliable: Whether the node subscribes reliably.
    """

    name: str = ""
    topic: str = ""
    reliable: bool = True

    @classmethod
    def of(cls, report: Mapping[str, str], wanted: str) -> ShownCamera:
        """The camera of that name; the first one if the node has none of that name."""
        names = camera_names(report)
        name = wanted if wanted in names else next(iter(names), "")
        topics, reliabilities = (_items(report, key) for key in ("image_topic", "image_reliability"))
        index = names.index(name) if name else 0
        if index >= min(len(topics), len(reliabilities)):
            return cls(name)
        return cls(name, topics[index], reliabilities[index] == "reliable")

    def space(self, node: str) -> str:
        """Beginning of the names of its topics.

        Args:
            node: Full name of the node.
        """
        space = f"{node.rpartition('/')[0]}/"
        return f"{space}{self.name}/" if self.name else space


def camera_names(report: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the node's cameras; none if it has only one camera."""
    return _items(report, "cameras")


def _items(report: Mapping[str, str], key: str) -> tuple[str, ...]:
    return tuple(filter(None, report.get(key, "").split(SEPARATOR)))
