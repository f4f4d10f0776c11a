"""Subscriptions that follow what is wanted at the moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

DEPTH = 5


@dataclass(frozen=True)
class Wish:
    """A subscription that should exist.

    Attributes:
        kind: Class of the messages.
        take: Takes a message.
        reliable: Whether lost messages are sent again.
        transient_local: Whether the last message from before the subscription is received.
    """

    kind: Any
    take: Callable[[Any], None]
    reliable: bool = True
    transient_local: bool = False


class Subscriptions:
    """The subscriptions of a node.

    Args:
        node: The node that subscribes.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._open: dict[str, tuple[Wish, Any]] = {}

    def follow(self, wishes: Mapping[str, Wish]) -> None:
        """Makes the subscriptions equal to the wishes, which are given by topic."""
        for topic in [each for each, (wish, _) in self._open.items() if wishes.get(each) != wish]:
            self._node.destroy_subscription(self._open.pop(topic)[1])
        for topic, wish in wishes.items():
            if topic not in self._open:
                self._open[topic] = wish, self._subscribe(topic, wish)

    def _subscribe(self, topic: str, wish: Wish) -> Any:
        reliability = ReliabilityPolicy.RELIABLE if wish.reliable else ReliabilityPolicy.BEST_EFFORT
        durability = DurabilityPolicy.TRANSIENT_LOCAL if wish.transient_local else DurabilityPolicy.VOLATILE
        qos = QoSProfile(depth=DEPTH, reliability=reliability, durability=durability)
        return self._node.create_subscription(wish.kind, topic, wish.take, qos)
