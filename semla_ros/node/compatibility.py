"""Publishers and subscribers of one topic whose QoS does not match."""

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


def _owns(node: Node, endpoint: Any) -> bool:
    return (endpoint.node_name, endpoint.node_namespace) == (node.get_name(), node.get_namespace())
