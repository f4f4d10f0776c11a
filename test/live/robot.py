"""The other end of the node's topics, services and parameters: a camera, subscribers and clients."""

from __future__ import annotations

import array
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from live.process import Process, free_domain, release, until
from rcl_interfaces.msg import Parameter
from rcl_interfaces.srv import GetParameters, SetParametersAtomically
from rclpy.exceptions import InvalidHandle
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter as ParameterOf
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32

MASK, CONFIDENCE, SUPPORT = "segmentation/mask", "segmentation/confidence", "domain/support"
REPEAT_S = 20.0
SYNC_NS = 999 * 10**9


def image(
    stamp_ns: int, *, width: int = 64, height: int = 48, delay: int = 0, command: int = 0, frame_id: str = "front"
) -> Image:
    """An rgb8 message. Its first pixel tells the stand-in pipeline how long to take and what to do."""
    rgb = np.full((height, width, 3), 90, np.uint8)
    rgb[0, 0] = delay, command, 0
    message = Image(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp_ns, 10**9)
    message.data = array.array("B", rgb.tobytes())
    return message


def stamp_ns(message: Any) -> int:
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


class Robot:
    """A ROS node in a thread of the test, and processes beside it, in a ROS domain of their own.

    As a context manager it ends them all.
    """

    def __init__(self) -> None:
        self.domain = free_domain()
        self.processes: list[Process] = []
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=self.domain)
        self.node = rclpy.create_node("robot", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()
        self._clients: dict[str, Any] = {}
        self._lists: dict[tuple[str, bool], list[tuple[list[Any], int]]] = {}
        self._reports = self.listen(DiagnosticArray, "/diagnostics")
        self.states = self.listen(DiagnosticArray, "domain/state", transient_local=True)

    def __enter__(self) -> Robot:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.kill()
        self._executor.shutdown()
        self._thread.join()
        self.node.destroy_node()
        self._context.shutdown()
        release(self.domain)

    def start(self, *command: Any, **options: Any) -> Process:
        """Starts a process in the robot's domain, see `Process`."""
        self.processes.append(Process(self.domain, *command, **options))
        return self.processes[-1]

    def until(self, condition: Callable[[], Any], what: str) -> Any:
        """Waits for a condition, see `live.process.until`; the logs of all processes are shown if it fails."""
        return until(condition, what, *self.processes)

    def until_active(self) -> None:
        """Waits until the node is active and its masks, confidences, support scores and domain states arrive here."""
        self.until(lambda: self.lifecycle() == "active", "the node to become active")
        with (
            self.hears(Image, MASK, CONFIDENCE) as (masks, confidences),
            self.hears(Float32, SUPPORT) as (supports,),
            self.camera() as publish,
        ):
            heard = (masks, confidences, supports, self.states)

            def arrived() -> bool:
                publish(image(10**9))
                time.sleep(0.1)
                return all(heard)

            self.until(arrived, "a mask, a confidence image, a support score and a domain state")
            self.settle(publish)

    def settle(self, publish: Callable[[Any], None]) -> None:
        """Sends one more image, and again if it is lost, and waits for its answer: no earlier image is under way then.

        Args:
            publish: Function of `camera`.
        """
        sent_s = -REPEAT_S
        with self.hears(Image, CONFIDENCE) as (confidences,):

            def answered() -> bool:
                nonlocal sent_s
                if time.monotonic() - sent_s > REPEAT_S:
                    publish(image(SYNC_NS))
                    sent_s = time.monotonic()
                return any(stamp_ns(each) == SYNC_NS for each in confidences)

            self.until(answered, "the answer to the last image sent")
        self.counts()

    def listen(self, kind: Any, topic: str, *, transient_local: bool = False, reliable: bool = True) -> list[Any]:
        """A list that grows by each message, from a new subscription."""
        heard: list[Any] = []
        self._subscribe(kind, topic, heard.append, reliable, transient_local)
        return heard

    @contextmanager
    def hears(self, kind: Any, *topics: str, reliable: bool = True) -> Iterator[tuple[list[Any], ...]]:
        """Lists of the messages that are published in the ``with`` block. The subscriptions stay for later blocks.

        A message of an earlier block that arrives late is left out. `until_active` has made sure that messages of the
        usual topics arrive; others may miss the first ones.
        """
        lists: tuple[list[Any], ...] = tuple([] for _ in topics)
        begin_ns = time.time_ns()
        for topic, heard in zip(topics, lists, strict=True):
            self._shared(kind, topic, reliable).append((heard, begin_ns))
        try:
            yield lists
        finally:
            for topic, heard in zip(topics, lists, strict=True):
                consumers = self._lists.get((topic, reliable), [])
                consumers[:] = [each for each in consumers if each[0] is not heard]

    def forget(self, topic: str) -> None:
        """Ends the subscriptions to a topic."""
        for each in list(self.node.subscriptions):
            if each.topic_name == f"/{topic}":
                self.node.destroy_subscription(each)
        self._lists = {key: lists for key, lists in self._lists.items() if key[0] != topic}

    @contextmanager
    def camera(
        self, *, reliable: bool = True, topic: str = "image", kind: Any = Image
    ) -> Iterator[Callable[[Any], None]]:
        """A function that publishes an image. The node has subscribed with the same reliability."""
        with self.offers(reliable=reliable, topic=topic, kind=kind) as publisher:
            wanted = [_reliability(reliable)]
            self.until(
                lambda: self._requested(publisher.topic_name) == wanted and publisher.get_subscription_count() == 1,
                f"the node to subscribe to {publisher.topic_name}, {wanted[0].name}",
            )
            yield publisher.publish

    @contextmanager
    def offers(self, *, reliable: bool = True, topic: str = "image", kind: Any = Image) -> Iterator[Any]:
        """A publisher, with or without a subscriber."""
        publisher = self.node.create_publisher(kind, topic, QoSProfile(depth=20, reliability=_reliability(reliable)))
        try:
            yield publisher
        finally:
            self.node.destroy_publisher(publisher)

    @contextmanager
    def another(self, name: str) -> Iterator[Any]:
        """Another ROS node of the test, whose callbacks are never called."""
        node = rclpy.create_node(name, context=self._context)
        try:
            yield node
        finally:
            node.destroy_node()

    def report(self) -> Any:
        """The next diagnostics report about the node: it was made after this call."""
        called_ns = time.time_ns()
        newest = self.until(
            lambda: next((each for each in self._reports[::-1] if stamp_ns(each) > called_ns), None),
            "a diagnostics report",
        )
        return newest.status[0]

    def newest_report(self) -> Any:
        """The last diagnostics report that has arrived, whatever clock its stamp is of; None without one."""
        return self._reports[-1].status[0] if self._reports else None

    def figures(self) -> dict[str, str]:
        """The details of the next diagnostics report."""
        return values(self.report())

    def counts(self, received: int = 0) -> dict[str, int]:
        """Numbers of frames received, segmented, dropped and failed, when every frame is accounted for.

        Args:
            received: Waits until so many have been received.
        """

        def settled() -> dict[str, int] | None:
            counts = {name[7:]: int(value) for name, value in self.figures().items() if name.startswith("frames_")}
            done = counts["segmented"] + counts["dropped"] + counts["failed"]
            return counts if counts["received"] == done >= received else None

        return dict(self.until(settled, f"at least {received} frames received, each segmented, dropped or failed"))

    def state(self) -> dict[str, str]:
        """The details of the newest domain state; waits for the first one."""
        self.until(lambda: self.states, "a domain state")
        return values(self.states[-1].status[0])

    def ask(self, kind: Any, service: str, **request: Any) -> Any:
        """A future of the answer of a service that has answered before."""
        return self._clients[service].call_async(kind.Request(**request))

    def call(self, kind: Any, service: str, **request: Any) -> Any:
        """The answer of a service. An answer is lost if the server has not discovered the client yet: ask again."""
        if service not in self._clients:
            self._clients[service] = self.node.create_client(kind, service)
        client = self._clients[service]
        self.until(client.service_is_ready, f"the service {service}")
        futures: list[Any] = []
        asked = 0.0

        def answer() -> Any:
            nonlocal asked
            if not futures or time.monotonic() - asked > REPEAT_S:
                futures.append(client.call_async(kind.Request(**request)))
                asked = time.monotonic()
            return next((each for each in futures if each.done()), None)

        return self.until(answer, f"an answer of {service}").result()

    def set(self, **settings: Any) -> Any:
        """Sets parameters, all or none; two underscores stand for a dot."""
        parameters = [
            ParameterOf(name.replace("__", "."), value=value).to_parameter_msg() for name, value in settings.items()
        ]
        return self.call(SetParametersAtomically, "semla/set_parameters_atomically", parameters=parameters).result

    def get(self, name: str) -> Any:
        value = self.call(GetParameters, "semla/get_parameters", names=[name]).values[0]
        return ParameterOf.from_parameter_msg(Parameter(name=name, value=value)).value

    def change(self, transition: str) -> bool:
        """Asks for a lifecycle transition, once; returns whether it succeeded."""
        service = "semla/change_state"
        if service not in self._clients:  # the first answer may be lost: it is that of a transition that does not exist
            self.call(ChangeState, service, transition=Transition(label="none"))
        answer = self.ask(ChangeState, service, transition=Transition(label=transition))
        return self.until(lambda: answer.done() and answer.result(), f"the end of the transition {transition}").success

    def lifecycle(self) -> str:
        return self.call(GetState, "semla/get_state").current_state.label

    def _spin(self) -> None:
        """Calls the callbacks until the executor is shut down.

        rclpy raises InvalidHandle where a publisher is destroyed while the executor collects what to wait for.
        """
        is_shut_down = False
        while not is_shut_down:
            with suppress(InvalidHandle):
                self._executor.spin()
                is_shut_down = True

    def _shared(self, kind: Any, topic: str, reliable: bool) -> list[tuple[list[Any], int]]:
        """The lists that the one subscription to a topic fills, each with the time when it was begun."""
        if (topic, reliable) not in self._lists:
            lists = self._lists[topic, reliable] = []

            def receive(message: Any, info: Any) -> None:
                for heard, begin_ns in lists:
                    if info["source_timestamp"] >= begin_ns:
                        heard.append(message)

            self._subscribe(kind, topic, receive, reliable)
        return self._lists[topic, reliable]

    def _subscribe(
        self, kind: Any, topic: str, callback: Any, reliable: bool = True, transient_local: bool = False
    ) -> None:
        qos = QoSProfile(depth=100, reliability=_reliability(reliable))
        if transient_local:
            qos.durability = DurabilityPolicy.TRANSIENT_LOCAL
        self.node.create_subscription(kind, topic, callback, qos)

    def _requested(self, topic: str) -> list[ReliabilityPolicy]:
        return [each.qos_profile.reliability for each in self.node.get_subscriptions_info_by_topic(topic)]


def values(status: Any) -> dict[str, str]:
    """The details of a DiagnosticStatus."""
    return {each.key: each.value for each in status.values}


def _reliability(reliable: bool) -> ReliabilityPolicy:
    return ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT
