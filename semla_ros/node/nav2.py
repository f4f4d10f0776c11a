"""What keeps Nav2's semantic_segmentation_layer from reading the node's topics."""

from __future__ import annotations

from collections.abc import Sequence

from rclpy.node import Node

from semla_ros.config import NodeConfig
from semla_ros.images.classes import UNLABELLED
from semla_ros.node.message_factory import message_type
from semla_ros.topics import outputs

COSTMAPS = "local_costmap", "global_costmap"  # the names of Nav2's nodes


def nav2_problem(node: Node, config: NodeConfig, class_count: int, cameras: Sequence[str] = ("",)) -> str:
    """Explains why a costmap of Nav2 that has subscribed misreads the topics; empty if none does.

    The layer takes each byte of mask and confidence for one pixel, whatever the encoding says, and reports no error.

    Args:
        node: The node that publishes.
        config: Settings in force.
        class_count: Number of classes that are segmented.
        cameras: Names of the cameras; empty for the only one.
    """
    confidence = subscribed_costmap(node, outputs.CONFIDENCE, cameras)
    if confidence and config.confidence_encoding != "mono8":
        return (
            f"{confidence} reads the confidence as mono8, and it is {config.confidence_encoding}: "
            "set confidence_encoding to mono8"
        )
    mask = subscribed_costmap(node, outputs.MASK, cameras)
    if mask and class_count > UNLABELLED:
        return (
            f"{mask} reads the mask as mono8, and with {class_count} classes it is mono16: "
            f"segment at most {UNLABELLED} classes"
        )
    if mask and message_type(outputs.LABEL_INFO_KIND) is None:
        return f"{mask} needs segmentation/label_info, which is not published: install the ROS package vision_msgs"
    return ""


def subscribed_costmap(node: Node, topic: str, cameras: Sequence[str]) -> str:
    """Returns the name of a costmap of Nav2 that subscribes to a topic of a camera; empty if there is none."""
    names = [str(node.resolve_topic_name(f"{camera}/{topic}" if camera else topic)) for camera in cameras]
    found = [each for name in names for each in node.get_subscriptions_info_by_topic(name)]
    return next((each.node_name for each in found if each.node_name in COSTMAPS), "")
