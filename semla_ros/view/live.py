"""The running node, as the servers show it."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import ParameterEvent
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.qos import qos_profile_parameter_events as EVENTS
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from semla_ros.errors import SemlaError
from semla_ros.node.topic_names import check_topic_name
from semla_ros.topics.domain import DomainSample
from semla_ros.topics.messages import stamp_ns
from semla_ros.topics.outputs import CONFIDENCE, LABELS, MASK, STATE
from semla_ros.view.history import History
from semla_ros.view.pairing import Pairing, classes_of
from semla_ros.view.remote import RemoteNode, value_of
from semla_ros.view.report import GONE_S, Health, figures
from semla_ros.view.scene import Scene
from semla_ros.view.shown_camera import ShownCamera, camera_names
from semla_ros.view.source import CAMERA, FREEZE, RELOAD, RESET, Notice, ViewError
from semla_ros.view.subscriptions import Subscriptions, Wish

FOLLOW_S = 0.2
REPORT = ": segmentation"  # end of the name of the node's status in /diagnostics


class LiveSource:
    """Follows a node over DDS: its images, domain states, diagnostics, services and parameters.

    The node is found by its reports in /diagnostics. It may start later than the view, end and come back.

    Args:
        wanted: Full name of the node, for example "/robot_1/semla"; empty for the first one that reports.
        camera: Name of the camera to show, of a node with several; empty for the first one.

    Raises:
        ViewError: No node can have that name.
    """

    def __init__(self, wanted: str = "", camera: str = "") -> None:
        self.title, self.history = wanted, History()
        self._wanted = f"/{wanted.strip('/')}" if wanted else ""
        if wanted:
            check_topic_name(self._wanted, "--node", ViewError)  # the same rules hold for the names of nodes
        self._wanted_camera, self._camera, self._has_own_domain = camera, ShownCamera(), False
        self._context = rclpy.Context()
        rclpy.init(context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self._node = rclpy.create_node("semla_view", context=self._context)
        self._remote: RemoteNode | None = None
        self._pairing = Pairing()
        self._scene: Scene | None = None
        self._sample: DomainSample | None = None
        self._scene_s = self._report_s = time.monotonic()
        self._report: Mapping[str, str] = {}
        self._warning, self._error = "", ""
        self._changed: dict[str, Any] = {}
        self._is_watched = False
        self._subscriptions = Subscriptions(self._node)
        self._node.create_subscription(DiagnosticArray, "/diagnostics", self._take_report, 10)
        self._node.create_subscription(ParameterEvent, "/parameter_events", self._take_parameters, EVENTS)
        self._node.create_timer(FOLLOW_S, self._follow)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="semla_view_ros", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Leaves the ROS network."""
        self._executor.shutdown(timeout_sec=1.0)
        self._context.try_shutdown()
        self._thread.join(2.0)

    def watch(self, is_watched: bool) -> None:
        """See `Source.watch`. Images are received only while somebody looks at them."""
        self._is_watched = is_watched

    def newest(self) -> Scene | None:
        """The last image that was segmented."""
        return self._scene

    def notices(self) -> Sequence[Notice]:
        """What is wrong with the node or its surroundings."""
        now = time.monotonic()
        return Health(
            wanted=self._wanted,
            name=self._remote.name if self._remote else "",
            ros_domain=os.environ.get("ROS_DOMAIN_ID", "0"),
            report_age_s=now - self._report_s,
            scene_age_s=now - self._scene_s,
            report=self._report,
            camera=self._wanted_camera,
            warning=self._warning,
            sample=self._sample,
            missing_images=self._pairing.missing,
            error=self._pairing.error or self._error,
        ).notices()

    def status(self) -> Mapping[str, Any]:
        """Classes, domain state, figures and actions."""
        sample = self._sample
        return {
            "title": self._remote.name if self._remote else self._wanted or "semla",
            "classes": [[each.id, each.name, list(each.color)] for each in self._pairing.classes],
            "domain": sample.as_json() if sample else None,
            "figures": figures(self._report),
            "actions": [FREEZE, RESET, RELOAD] if self._remote else [],
            "cameras": camera_names(self._report),
            "camera": self._camera.name,
        }

    def act(self, action: str, value: Any = None) -> str:
        """Calls a service of the node, or turns to another camera."""
        if action == CAMERA:
            return self._choose(value)
        if action not in (FREEZE, RESET, RELOAD):
            raise ViewError("no such action", got=action, expected=f"{FREEZE}, {RESET} or {RELOAD}")
        return self._found().act(action, value)

    def parameters(self, names: Sequence[str] = ()) -> Mapping[str, Any]:
        """The node's parameters."""
        return self._found().parameters(names)

    def changed_parameters(self) -> Mapping[str, Any]:
        """Parameters of the node that somebody has changed since the last call."""
        changed, self._changed = self._changed, {}
        return changed

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Sets parameters of the node."""
        self._found().set_parameters(values)

    def _choose(self, camera: Any) -> str:
        names = camera_names(self._report)
        if camera not in names:
            raise ViewError("no such camera", got=camera, expected=" or ".join(names) or "none, as there is one camera")
        self._wanted_camera = str(camera)
        return f"camera {camera}"

    def _found(self) -> RemoteNode:
        if self._remote is None:
            raise ViewError("there is no node yet", hint="Start it first.")
        return self._remote

    def _spin(self) -> None:
        """Runs in a thread of its own. A message that cannot be used is reported and does not end it."""
        while self._context.ok():
            try:
                self._executor.spin_once(FOLLOW_S)
            except ExternalShutdownException:
                return
            except Exception as error:
                self._error = str(error) if isinstance(error, SemlaError) else f"{type(error).__name__}: {error}"

    def _take_report(self, message: Any) -> None:
        """Takes the node's report; the first one tells its name."""
        for status in message.status:
            name, is_report, _ = status.name.rpartition(REPORT)
            if not is_report or not self._follows(name):
                continue
            if self._remote is None or self._remote.name != name:
                self._meet(name)
            self._report = {each.key: each.value for each in status.values}
            self._warning = status.message if status.level != b"\0" else ""
            self._report_s = time.monotonic()

    def _follows(self, name: str) -> bool:
        """Whether a node is the one to show: the wanted one, or the first that reports until it is gone."""
        if self._wanted or self._remote is None:
            return name == (self._wanted or name)
        return name == self._remote.name or time.monotonic() - self._report_s > GONE_S

    def _meet(self, name: str) -> None:
        """Turns to another node."""
        if self._remote is not None:
            self._remote.close()
        self._remote, self._pairing = RemoteNode(self._node, name), Pairing(self._pairing.classes)
        self._scene = self._sample = None
        self.history.clear()
        self._has_own_domain = False

    def _take_parameters(self, event: Any) -> None:
        if self._remote is not None and event.node == self._remote.name:
            self._changed |= {each.name: value_of(each) for each in event.changed_parameters}

    def _follow(self) -> None:
        """Timer: subscribes to what should be received at the moment."""
        camera = ShownCamera.of(self._report, self._wanted_camera)
        if camera.name != self._camera.name:
            self._pairing, self._scene = Pairing(self._pairing.classes), None
            if self._has_own_domain:
                self._sample = None
                self.history.clear()
        self._camera = camera
        self._subscriptions.follow(self._wishes())

    def _wishes(self) -> dict[str, Wish]:
        if self._remote is None:
            return {}
        camera, node = self._camera, self._remote.name
        common, own = ShownCamera().space(node), camera.space(node)
        wishes = {
            f"{common}{LABELS}": Wish(String, self._take_labels, transient_local=True),
            f"{common}{STATE}": Wish(DiagnosticArray, self._take_state, transient_local=True),
        }
        if own != common:  # the node publishes one state of all cameras, or one of each
            wishes[f"{own}{STATE}"] = Wish(DiagnosticArray, self._take_own_state, transient_local=True)
        if self._is_watched:
            wishes[f"{own}{MASK}"] = Wish(Image, self._take_mask)
            wishes[f"{own}{CONFIDENCE}"] = Wish(Image, self._take_confidence)
        if self._is_watched and camera.topic:
            kind = CompressedImage if camera.topic.endswith("/compressed") else Image
            wishes[camera.topic] = Wish(kind, self._take_camera, camera.reliable)
        return wishes

    def _take_camera(self, message: Any) -> None:
        self._show(self._pairing.image(message))

    def _take_mask(self, message: Any) -> None:
        self._show(self._pairing.mask(message))

    def _take_confidence(self, message: Any) -> None:
        self._show(self._pairing.confidence(message))

    def _show(self, scene: Scene | None) -> None:
        if scene is not None:
            self._scene, self._scene_s, self._error = scene, time.monotonic(), ""

    def _take_own_state(self, message: Any) -> None:
        self._has_own_domain = True
        self._take_state(message)

    def _take_state(self, message: Any) -> None:
        for status in message.status:
            values = {each.key: each.value for each in status.values}
            self._sample = DomainSample.of(stamp_ns(message.header), values)
            if self._sample.stamp_ns:  # a state from before the first image has no place in time
                self.history.add(self._sample)

    def _take_labels(self, message: Any) -> None:
        self._pairing.classes = classes_of(message)
