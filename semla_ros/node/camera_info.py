"""The subscription to the camera's intrinsics."""

from __future__ import annotations

from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo


class CameraInfoSubscription:
    """Keeps the newest message of ``camera_info`` beside the image topic, where ROS camera drivers publish it.

    Args:
        node: The node that subscribes.
        image: Name of the image topic. If it is remapped to /camera/image_raw, the topic is /camera/camera_info.
    """

    def __init__(self, node: Node, image: str = "image") -> None:
        self._newest: Any = None
        topic = str(node.resolve_topic_name(image)).rpartition("/")[0] + "/camera_info"
        qos = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # matches any publisher
        node.create_subscription(CameraInfo, topic, self._keep, qos)

    def newest(self) -> Any:
        """Returns the last sensor_msgs/CameraInfo; None if there was none."""
        return self._newest

    def _keep(self, message: Any) -> None:
        self._newest = message
