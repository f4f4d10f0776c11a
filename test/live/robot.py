"""The rest of the robot: a camera, and everybody who listens to the node."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as ParameterOf
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image


def image(
    stamp_ns: int, *, width: int = 64, height: int = 48, delay: int = 0, mood: int = 0, frame_id: str = "camera_front"
) -> Image:
    """An rgb8 message; its first pixel tells the stand-in pipeline what to do."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[0, 0] = delay, mood, 0
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data = array.array("B", rgb.tobytes())
    return message


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


class Robot:
    """A ROS node in a thread of the test, in a domain of its own."""

    def __init__(self, domain: int) -> None:
        self.domain = domain
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self.node = rclpy.create_node("robot", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        self._diagnostics = self.listen(DiagnosticArray, "/diagnostics")
        self.states = self.listen(DiagnosticArray, "domain/state", transient_local=True)

    def close(self) -> None:
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.shutdown()

    def listen(self, kind: Any, topic: str, *, transient_local: bool = False, reliable: bool = True) -> list[Any]:
        """A list that grows by each message; ``forget`` ends it."""
        heard: list[Any] = []
        qos = QoSProfile(depth=100, reliability=_reliability(reliable))
        if transient_local:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self.node.create_subscription(kind, topic, heard.append, qos)
        return heard

    def forget(self, *lists: list[Any]) -> None:
        for subscription in list(self.node.subscriptions):
            if any(subscription.callback.__self__ is heard for heard in lists):
                self.node.destroy_subscription(subscription)

    @contextmanager
    def hears(self, kind: Any, *topics: str, reliable: bool = True) -> Iterator[tuple[list[Any], ...]]:
        lists = tuple(self.listen(kind, topic, reliable=reliable) for topic in topics)
        self.until(lambda: all(self.node.count_publishers(topic) for topic in topics))
        time.sleep(0.2)  # the publisher learns of us a little later than we of it
        try:
            yield lists
        finally:
            self.forget(*lists)

    @contextmanager
    def camera(
        self, *, reliable: bool = True, topic: str = "image", kind: Any = Image
    ) -> Iterator[Callable[[Any], None]]:
        """What publishes a image; the node has subscribed with the same reliability."""
        with self.offers(reliable=reliable, topic=topic, kind=kind) as publisher:
            wanted = [_reliability(reliable)]
            self.until(
                lambda: self._requested(publisher.topic_name) == wanted and publisher.get_subscription_count() == 1
            )
            yield publisher.publish

    @contextmanager
    def offers(self, *, reliable: bool = True, topic: str = "image", kind: Any = Image) -> Iterator[Any]:
        """A publisher, heard or not."""
        publisher = self.node.create_publisher(kind, topic, QoSProfile(depth=20, reliability=_reliability(reliable)))
        try:
            yield publisher
        finally:
            self.node.destroy_publisher(publisher)

    def warm_up(self) -> None:
        """Sends images until the first comes back: discovery takes its time on a busy machine, once."""
        with self.hears(Image, "segmentation/mask", "segmentation/confidence") as heard, self.camera() as publish:
            while not all(heard):
                publish(image(1))
                time.sleep(0.1)

    def until(self, condition: Callable[[], Any], timeout_s: float = 10.0) -> Any:
        """Waits for a condition and returns what it gave."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if result := condition():
                return result
            time.sleep(0.01)
        raise AssertionError("it did not come about in time")

    def figures(self) -> dict[str, str]:
        """The details of the next diagnostics report."""
        return {each.key: each.value for each in self.report().values}

    def counts(self, figures: dict[str, str] | None = None) -> dict[str, int]:
        """How many frames were received, segmented, dropped and failed."""
        figures = figures or self.figures()
        return {name[7:]: int(value) for name, value in figures.items() if name.startswith("frames_")}

    def report(self) -> Any:
        """The next diagnostics report; what happened before now is in it."""
        time.sleep(0.05)  # the newest report may still be under way
        count = len(self._diagnostics)
        self.until(lambda: len(self._diagnostics) > count)
        return self._diagnostics[-1].status[0]

    def state(self) -> dict[str, str]:
        """The details of the newest domain state."""
        return {each.key: each.value for each in self.states[-1].status[0].values}

    def call(self, kind: Any, service: str, **request: Any) -> Any:
        client = self.node.create_client(kind, service)
        assert client.wait_for_service(10.0), f"no service {service}"
        future = client.call_async(kind.Request(**request))
        self.until(future.done)
        self.node.destroy_client(client)
        return future.result()

    def set(self, **values: Any) -> Any:
        """Sets parameters, all or none; two underscores stand for a dot."""
        parameters = [
            ParameterOf(name.replace("__", "."), value=value).to_parameter_msg() for name, value in values.items()
        ]
        return self.call(SetParametersAtomically, "semla/set_parameters_atomically", parameters=parameters).result

    def get(self, name: str) -> Any:
        value = self.call(GetParameters, "semla/get_parameters", names=[name]).values[0]
        return ParameterOf.from_parameter_msg(Parameter(name=name, value=value)).value

    def change(self, transition: str) -> bool:
        """Asks for a lifecycle transition; returns whether it succeeded."""
        request = ChangeState.Request()
        request.transition.label = transition
        return self.call(ChangeState, "semla/change_state", transition=request.transition).success

    def lifecycle(self) -> str:
        return self.call(GetState, "semla/get_state").current_state.label

    def _requested(self, topic: str) -> list[ReliabilityPolicy]:
        return [each.qos_profile.reliability for each in self.node.get_subscriptions_info_by_topic(topic)]


def _reliability(reliable: bool) -> ReliabilityPolicy:
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
