"""The depth camera beside the colour camera: the depth image of each camera image."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Any
from weakref import WeakSet

from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image

from semla_ros.errors import ConfigError
from semla_ros.node.camera_info import CameraInfoSubscription
from semla_ros.node.subscription import DEPTH, offered_reliability
from semla_ros.node.topic_names import check_topic_name
from semla_ros.topics.messages import stamp_ns
from semla_ros.topics.sources import DepthView

RECENT = 5  # depth images that are kept for camera images that arrive after them


class NearestImage:
    """The depth image whose stamp is nearest to a given one, among those that have been offered.

    Args:
        stamp_ns: The given stamp, nanoseconds.
    """

    def __init__(self, stamp_ns: int) -> None:
        self._stamp_ns = stamp_ns
        self._image: Any = None

    def offer(self, image: Any) -> None:
        """Keeps a sensor_msgs/Image if it is nearer than the one before."""
        if self._image is None or self._distance(image) < self._distance(self._image):
            self._image = image

    def within(self, tolerance_s: float) -> Any:
        """The nearest image; None if the stamps differ by more than the tolerance."""
        image = self._image
        return image if image is not None and self._distance(image) <= 1e9 * tolerance_s else None

    def _distance(self, image: Any) -> int:
        return abs(stamp_ns(image.header) - self._stamp_ns)


class DepthImages:
    """Finds the depth image of each camera image by its stamp, whichever of them arrives first.

    message_filters would need both at once; here a camera image is segmented without delay, and its depth image may
    arrive meanwhile. Only a few recent images are kept, and one for each camera image that is waiting or in progress.
    """

    def __init__(self) -> None:
        self._recent: deque[Any] = deque(maxlen=RECENT)
        self._searches: WeakSet[NearestImage] = WeakSet()  # a camera image that is dropped ends its search
        self._lock = threading.Lock()

    def add(self, image: Any) -> None:
        """Takes a depth image."""
        with self._lock:
            self._recent.append(image)
            for search in self._searches:
                search.offer(image)

    def search(self, stamp_ns: int) -> NearestImage:
        """Begins the search for the depth image of a camera image. It goes on as long as the result is referred to."""
        found = NearestImage(stamp_ns)
        with self._lock:
            for image in self._recent:
                found.offer(image)
            self._searches.add(found)
        return found

    def clear(self) -> None:
        """Forgets all depth images."""
        with self._lock:
            self._recent.clear()


class DepthCamera:
    """Subscribes to depth images and their camera_info. Without ``depth_topic`` it does nothing.

    Args:
        node: The node that subscribes.
        topic: Name of the topic of the depth images; empty without a depth camera.

    Raises:
        ConfigError: ROS does not accept the name.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self._node = node
        if topic:
            check_topic_name(topic, "depth_topic", ConfigError)
        self._topic = str(node.resolve_topic_name(topic)) if topic else ""
        self._camera_info = CameraInfoSubscription(node, self._topic) if topic else None
        self._images = DepthImages()
        self._subscription: Any = None
        self._since = 0.0

    def follow(self, wanted: bool) -> None:
        """Subscribes to the depth images while they are wanted, with the reliability that their publishers offer."""
        reliability = offered_reliability(self._node, self._topic) if self._topic and wanted else None
        current = self._subscription
        if reliability == (current.qos_profile.reliability if current else None):
            return
        if current:
            self._node.destroy_subscription(current)
            self._subscription = None
            self._images.clear()
        if reliability is not None:
            qos = QoSProfile(depth=DEPTH, reliability=reliability)
            self._subscription = self._node.create_subscription(Image, self._topic, self._images.add, qos)
            self._since = time.monotonic()

    def subscribed_within(self, seconds: float) -> bool:
        """Whether the subscription is younger than that, so that its first image may still be on its way."""
        return self._subscription is not None and time.monotonic() - self._since < seconds

    def search(self, header: Any) -> NearestImage | None:
        """Begins the search for the depth image of a camera image; None without a depth camera.

        Args:
            header: std_msgs/Header of the camera image.
        """
        return self._images.search(stamp_ns(header)) if self._topic else None

    def view(self, found: NearestImage | None, tolerance_s: float) -> DepthView | None:
        """What the depth camera has sent for a camera image; None without a depth camera.

        Args:
            found: What `search` has returned for the camera image.
            tolerance_s: Largest difference of the stamps, seconds.
        """
        if found is None or self._camera_info is None:
            return None
        return DepthView(self._topic, found.within(tolerance_s), self._camera_info.newest())
