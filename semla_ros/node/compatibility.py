"""Who cannot hear whom, for the QoS they ask for."""

from __future__ import annotations

from itertools import product
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSCompatibility, qos_check_compatible


def conflicts(node: Node, topic: str) -> list[str]:
    """Pairs of a topic's publisher and subscriber, one of them the node's own, that exchange no messages; and why."""
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
