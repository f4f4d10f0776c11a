"""The ROS 2 node: lifecycle, parameters and timers around the pipeline."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from semla_ros.config import Config
from semla_ros.node import settings
from semla_ros.node.cameras import Camera, Cameras
from semla_ros.node.compatibility import missing_time, namesakes
from semla_ros.node.diagnostics import Diagnostics
from semla_ros.node.nav2 import nav2_problem
from semla_ros.node.publishers import Publishers
from semla_ros.node.ros_logging import RosLogHandler
from semla_ros.node.services import Services
from semla_ros.node.signals import Stopping
from semla_ros.node.slow_device import SlowDevice
from semla_ros.node.statistics import Statistics
from semla_ros.node.stream import Stream
from semla_ros.node.throttled_log import ThrottledLogger, explained, reason
from semla_ros.node.transitions import logged
from semla_ros.topics.sources import ClassList, DomainReport

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline

Build = Callable[[Config], "SemlaPipeline"]
PYTHON_LOG = logging.getLogger("semla_ros")
FOLLOW_PERIOD_S = 0.2
REPORT_PERIOD_S = 1.0
SPIN_PERIOD_S = 0.2


def build_bundle(config: Config) -> SemlaPipeline:
    """Builds the pipeline of the bundle that the settings name. Imports torch, which takes seconds."""
    from semla_ros.pipeline.build import build_live_pipeline

    return build_live_pipeline(config)


class SemlaNode(LifecycleNode):
    """Segments the images of a camera and adapts to the domain they show.

    Args:
        build: Builds the pipeline when the node is configured.
        stopping: Returns whether the process has received a signal to end.
        options: Options of rclpy's LifecycleNode.

    Raises:
        ConfigError: A parameter is wrong.
    """

    def __init__(self, build: Build = build_bundle, stopping: Stopping = lambda: False, **options: Any) -> None:
        super().__init__("semla", **options)
        self._python_log = RosLogHandler(self.get_logger())
        PYTHON_LOG.addHandler(self._python_log)
        PYTHON_LOG.setLevel(logging.DEBUG)  # the log level of ROS decides what is shown
        self.config = settings.declare(self)
        self._build = build
        self._stopping = stopping
        self._stream: Stream | None = None
        self._active = False
        self._statistics = Statistics()
        self._slow_device = SlowDevice(self._statistics)
        self._log = ThrottledLogger(self.get_logger())
        with settings.qos_overrides_checked("a published topic"):
            per_camera = self.config.domain_per_camera
            self._outputs = Publishers(self, sources=(ClassList,) if per_camera else (ClassList, DomainReport))
        self._cameras = Cameras(self, self.config, self._receive)
        self._domains = self._cameras.outputs() if per_camera else {"": self._outputs}
        topics = [*self._cameras.topics, *self._outputs.topics]
        self._diagnostics = Diagnostics(self, topics, self._cameras, self._statistics)
        Services(self, lambda: self._stream)
        self._accept_parameters()
        wall = Clock()  # the timers run while simulated time is paused
        self.create_timer(FOLLOW_PERIOD_S, self._follow_publishers, clock=wall)
        self.create_timer(REPORT_PERIOD_S, self._report, clock=wall)

    def start(self) -> bool:
        """Configures and activates; returns whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    def spin(self) -> None:
        """Runs callbacks until the process receives a signal to end.

        An exception of a callback does not end the node: it is logged and reported in the diagnostics.
        """
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(self)
        while self.context.ok() and not self._stopping():
            try:
                executor.spin_once(SPIN_PERIOD_S)
            except Exception as error:
                self._fail(error)
        executor.shutdown()

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the models."""
        build = partial(self._build, self.config)
        self._cameras.renew()
        self._stream = Stream(
            self, build, self._outputs, self._domains, self._statistics, self._log, self.config, self._stopping
        )
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Publishes classes and domain state, and subscribes. If that fails, nothing is published."""
        result = super().on_activate(state)
        try:
            self._cameras.follow(self.config)
            if self._stream:
                self._stream.publish_state()
        except Exception:
            self._cameras.close()
            super().on_deactivate(state)
            raise
        self._active = True
        self.get_logger().info("active: {image_topic}, {image_reliability}".format(**self._cameras.key_values()))
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes, waits for the frame in progress and stops publishing."""
        self._active = False
        self._cameras.close()
        if self._stream:
            self._stream.drain()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the models."""
        self.close()
        gc.collect()  # networks and tracebacks hold reference cycles
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and frees the models."""
        self.close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Returns to unconfigured."""
        self.close()
        return super().on_error(state)

    def close(self) -> None:
        """Unsubscribes, ends the worker and frees the models."""
        self._active = False
        self._cameras.close()
        if self._stream:
            self._stream.close()
            self._stream = None

    def destroy_node(self) -> None:
        """See rclpy."""
        PYTHON_LOG.removeHandler(self._python_log)
        PYTHON_LOG.setLevel(logging.NOTSET)
        super().destroy_node()

    def _receive(self, camera: Camera, topic: str, message: Any) -> None:
        """Callback of the subscriptions: passes a camera message to the worker."""
        if self._stream:
            self._stream.receive(camera, topic, message)

    def _follow_publishers(self) -> None:
        """Timer: subscribes again if transport or publishers' reliability have changed. Publishers come and go."""
        if self._active:
            self._cameras.follow(self.config)

    def _report(self) -> None:
        """Timer: publishes the diagnostics and repeats the domain state; warns if no image arrives or too many do."""
        nav2 = nav2_problem(self, self.config, self._outputs.class_count, self._cameras.names)
        found = (*self._cameras.problems(self.config), missing_time(self), namesakes(self), nav2)
        around = [each for each in found if each]
        for warning in around:
            self._log.warning(warning)
        slow = self._slow_device.explain(self.config) if self._active else ""
        if slow:  # that frames are dropped is no fault: it is said once
            self.get_logger().warning(slow, once=True)
        for outputs in self._domains.values():
            outputs.repeat_domain()
        stage = "active" if self._active else "inactive" if self._stream else "unconfigured"
        warnings, gaps = (self._stream.warnings(), self._stream.gap_values()) if self._stream else ((), {})
        self._diagnostics.report(stage, [*around, *warnings], {"too_slow": slow, **gaps})

    def _accept_parameters(self) -> None:
        """Checks parameters before they are set and applies them afterwards.

        ROS 2 Humble has no callback for "afterwards"; there they are applied when they have passed the check.
        """
        self.add_on_set_parameters_callback(self._check)
        if hasattr(self, "add_post_set_parameters_callback"):
            self.add_post_set_parameters_callback(self._apply)
        else:
            self.add_on_set_parameters_callback(self._apply)

    def _check(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        """Refuses wrong settings with the reason. Changes nothing, as ROS requires of this callback."""
        try:
            config = settings.applied(self.config, parameters)
            if config.image_transport != self.config.image_transport:
                self._cameras.check(config)
            if self._stream:
                self._stream.check(config)
        except Exception as error:  # rclpy would end the node
            return SetParametersResult(successful=False, reason=reason(error))
        return SetParametersResult(successful=True)

    def _apply(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        """Puts accepted settings in force. If that fails, the parameters are set back to the values in force."""
        config = settings.applied(self.config, parameters)
        try:
            if self._stream and config != self.config:
                self._stream.configure(config)
            for change in settings.differing(config, self.config):
                self.get_logger().info(f"{change.name} is now {change.value}")
            self.config = config
        except Exception as error:
            self._fail(error)
            self.set_parameters_atomically(settings.differing(self.config, config))
            return SetParametersResult(successful=False, reason=reason(error))
        return SetParametersResult(successful=True)

    def _fail(self, error: Exception) -> None:
        """Reports an error of the node in diagnostics and log; no frame was lost by it."""
        self._statistics.alarm(reason(error))
        self._log.error(explained(error))
