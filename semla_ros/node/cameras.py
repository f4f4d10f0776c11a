"""The cameras of the node: one without a name, or several with a sub-namespace each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.lifecycle import LifecycleNode

from semla_ros.config import NodeConfig
from semla_ros.errors import ConfigError
from semla_ros.images.bit_depth import BitDepth
from semla_ros.node.camera_info import CameraInfoSubscription
from semla_ros.node.depth import DepthCamera
from semla_ros.node.publishers import Publishers
from semla_ros.node.settings import qos_overrides_checked
from semla_ros.node.subscription import ImageSubscription
from semla_ros.topics.outputs import POINTS
from semla_ros.topics.sources import DomainReport, SegmentedImage

Receive = Callable[["Camera", str, Any], None]


class Camera:
    """One camera: its subscriptions, and the topics of its segmentations.

    Args:
        node: The node that subscribes and publishes.
        name: Sub-namespace of its topics: the images of camera "front" are front/image; empty for the only camera.
        config: ``depth_topic`` is read (it is a name below that of the camera, unless it begins with a slash), and
            ``domain_per_camera``.
        receive: Called with the camera, the full name of the topic and the message.

    Attributes:
        name: See above.
        images: Subscription to the images.
        depth: Subscription to the depth images.
        outputs: Publishers of its segmentations, and of its domain if it has one of its own.
        bit_depth: Number of bits in use in its 16-bit images.
    """

    def __init__(self, node: LifecycleNode, name: str, config: NodeConfig, receive: Receive) -> None:
        self.name, prefix = name, f"{name}/" if name else ""
        depth = config.depth_topic
        self.depth = DepthCamera(node, f"{prefix}{depth}" if depth and not depth.startswith("/") else depth)
        camera_info = CameraInfoSubscription(node, f"{prefix}image")
        with qos_overrides_checked("a published topic"):
            sources = (SegmentedImage, DomainReport) if config.domain_per_camera else (SegmentedImage,)
            self.outputs = Publishers(node, camera_info.newest, self.depth, prefix, sources)
        self.images = ImageSubscription(node, lambda topic, message: receive(self, topic, message), f"{prefix}image")
        self.bit_depth = BitDepth()


class Cameras:
    """All cameras of the node.

    Args:
        node: The node that subscribes and publishes.
        config: ``cameras``, ``depth_topic`` and ``domain_per_camera`` are read.
        receive: Called with the camera, the full name of the topic and the message.

    Attributes:
        topics: Full names of all topics that are published for the cameras.

    Raises:
        ConfigError: There are several cameras, but ``image`` is remapped, the topic of a single one.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, receive: Receive) -> None:
        _check_remapping(node, config.cameras)
        self._cameras = [Camera(node, name, config, receive) for name in config.cameras or ("",)]
        self.topics = [topic for camera in self._cameras for topic in camera.outputs.topics]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [camera.name for camera in self._cameras]

    def outputs(self) -> dict[str, Publishers]:
        """The publishers of each camera, by its name."""
        return {camera.name: camera.outputs for camera in self._cameras}

    def check(self, config: NodeConfig) -> None:
        """Checks the QoS overrides of the image topics that the settings name.

        Raises:
            ConfigError: See `ImageSubscription.check`.
        """
        for camera in self._cameras:
            camera.images.check(config)

    def follow(self, config: NodeConfig) -> None:
        """Subscribes with the transport of the settings and the reliability of the publishers.

        Depth images are subscribed to while somebody subscribes to the points.

        Raises:
            ConfigError: A QoS override of an image topic is wrong.
        """
        for camera in self._cameras:
            camera.images.subscribe_as_offered(config)
            camera.depth.follow(camera.outputs.is_subscribed(POINTS))

    def close(self) -> None:
        """Ends all subscriptions to images."""
        for camera in self._cameras:
            camera.images.close()
            camera.depth.follow(False)

    def renew(self) -> None:
        """Forgets what the cameras have sent."""
        for camera in self._cameras:
            camera.bit_depth = BitDepth()

    def image_topics(self) -> list[str]:
        """Full names of the topics that are subscribed to."""
        return [topic for camera in self._cameras if (topic := camera.images.key_values()["image_topic"])]

    def key_values(self) -> dict[str, str]:
        """Names, topics and reliabilities of the cameras for a diagnostic message, separated by commas."""
        values = [{"cameras": camera.name, **camera.images.key_values()} for camera in self._cameras]
        return {key: ", ".join(filter(None, (each[key] for each in values))) for key in values[0]}

    def problems(self, config: NodeConfig) -> Sequence[str]:
        """Explains which cameras are silent, what cannot be published for the others, and whose stamps do not match.

        Args:
            config: ``silence_s`` is the longest time without an image; a new subscription to depth images has it, too.
        """
        silent = [each.images.waiting_for() for each in self._cameras if each.images.silence_s > config.silence_s]
        settled = [each for each in self._cameras if not each.depth.subscribed_within(config.silence_s)]
        clocks = "" if config.domain_per_camera else self._clocks_apart(config)
        return [*silent, *filter(None, (*(camera.outputs.problem for camera in settled), clocks))]

    def _clocks_apart(self, config: NodeConfig) -> str:
        """Explains that cameras that decide one domain have stamps of different clocks; empty otherwise."""
        deciding = [each for each in self._cameras if each.name in config.domain_cameras or not config.domain_cameras]
        lags = [(each.images.lag_s, each.name) for each in deciding if each.images.lag_s is not None]
        (least, early), (most, late) = min(lags, default=(0.0, "")), max(lags, default=(0.0, ""))
        if most - least <= config.tracker.stamp_tolerance_s:
            return ""
        return (
            f"the stamps of {late} are {most - least:.1f} s behind those of {early}: cameras that share a domain need "
            "one clock; with domain_per_camera each may have its own"
        )


def _check_remapping(node: LifecycleNode, cameras: Sequence[str]) -> None:
    """Raises a ConfigError if an image topic is given that none of several cameras subscribes to."""
    image = node.resolve_topic_name("image")
    if cameras and image != f"{node.get_namespace().rstrip('/')}/image":
        raise ConfigError(
            "one image topic for several cameras", where="image_topic or the remapping of image", got=image,
            expected=f"a remapping for each camera, such as {cameras[0]}/image:={image}",
        )  # fmt: skip
