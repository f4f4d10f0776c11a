"""What keeps the node from working with other nodes: QoS that does not match, an equal name, a clock without time."""

from __future__ import annotations

from itertools import product
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible


def conflicts(node: Node, topic: str) -> list[str]:
    """Pairs of a publisher and a subscriber of a topic that exchange no messages because of their QoS.

    Args:
        node: Only pairs in which one side belongs to this node are returned.
        topic: Full name of the topic.

    Returns:
        One sentence per pair, with the policies that do not match.
    """
    offers = node.get_publishers_info_by_topic(topic)
    requests = node.get_subscriptions_info_by_topic(topic)
    found = []
    for offer, request in product(offers, requests):
        verdict, why = qos_check_compatible(offer.qos_profile, request.qos_profile)
        if verdict == QoSCompatibility.ERROR and (_owns(node, offer) or _owns(node, request)):
            found.append(f"{topic} from {offer.node_name} to {request.node_name}: {why.strip(' ;')}")
    return found


def namesakes(node: Node) -> str:
    """Explains that other nodes have the full name of this one; empty if there are none.

    Such nodes share services and parameters: nobody can tell which of them answers.
    """
    own = node.get_name(), node.get_namespace()
    others = node.get_node_names_and_namespaces().count(own) - 1
    name = node.get_fully_qualified_name()
    return f"{others + 1} nodes are called {name}: rename all but one, or give each a namespace" if others > 0 else ""


def missing_time(node: Node) -> str:
    """Explains that simulated time is used and none has arrived; empty otherwise."""
    clock = node.get_clock()
    if not getattr(clock, "ros_time_is_active", False) or clock.now().nanoseconds:
        return ""
    return "use_sim_time is true, and no time has arrived on /clock: ages of images are unknown"


def _owns(node: Node, endpoint: Any) -> bool:
    return (endpoint.node_name, endpoint.node_namespace) == (node.get_name(), node.get_namespace())
