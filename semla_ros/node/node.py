"""The ROS 2 node: lifecycle, parameters and services around the pipeline."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from semla_ros.config import Config
from semla_ros.node import settings
from semla_ros.node.diagnostics import Diagnostics
from semla_ros.node.publishers import Publishers
from semla_ros.node.statistics import Statistics
from semla_ros.node.stream import Stream
from semla_ros.node.subscription import ImageSubscription
from semla_ros.node.throttled_log import ThrottledLogger, reason
from semla_ros.node.transitions import logged

if TYPE_CHECKING:
    from semla_ros.pipeline.pipeline import SemlaPipeline

Build = Callable[[Config], "SemlaPipeline"]
MATCH_PERIOD_S = 0.2
REPORT_PERIOD_S = 1.0


def build_bundle(config: Config) -> SemlaPipeline:
    """The pipeline of the bundle that the settings name; torch is imported no sooner than now."""
    from semla_ros.pipeline.build import build_live_pipeline

    return build_live_pipeline(config)


class SemlaNode(LifecycleNode):
    """Segments the frames of a camera, adapting to the domain they show.

    Args:
        build: Makes the pipeline, when the node is configured.
        options: For rclpy's LifecycleNode.

    Raises:
        ConfigError: A parameter is wrong.
    """

    def __init__(self, build: Build = build_bundle, **options: Any) -> None:
        super().__init__("semla", **options)
        self.config = settings.declare(self)
        self._build = build
        self._stream: Stream | None = None
        self._active = False
        self._statistics = Statistics()
        self._log = ThrottledLogger(self.get_logger())
        self._outputs = Publishers(self)
        self._camera = ImageSubscription(self, self._receive)
        self._diagnostics = Diagnostics(self, self._outputs.topics, self._camera, self._statistics)
        self.add_on_set_parameters_callback(self._accept)
        self.create_service(SetBool, "~/freeze", self._freeze)
        self.create_service(Trigger, "~/reset", self._reset)
        self.create_service(Trigger, "~/reload_library", self._reload_library)
        wall = Clock()  # a paused simulation is still watched
        self.create_timer(MATCH_PERIOD_S, self._match, clock=wall)
        self.create_timer(REPORT_PERIOD_S, self._report, clock=wall)

    def start(self) -> bool:
        """Configures and activates; returns whether both succeeded."""
        success = TransitionCallbackReturn.SUCCESS
        return self.trigger_configure() == success and self.trigger_activate() == success

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the models."""
        build = partial(self._build, self.config)
        self._stream = Stream(self, build, self._outputs, self._statistics, self._log, self.config)
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Says what there is to know, and subscribes."""
        result = super().on_activate(state)
        if self._stream:
            self._stream.announce()
        self._active = True
        self._camera.match(self.config)
        self.get_logger().info("active: {image_topic}, {image_reliability}".format(**self._camera.key_values()))
        return result

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes, lets the frame at work come out, and falls silent."""
        self._active = False
        self._camera.close()
        if self._stream:
            self._stream.drain()
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Frees the models."""
        self.close()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Unsubscribes and frees the models."""
        self.close()
        return super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        self.close()
        return super().on_error(state)

    def close(self) -> None:
        """Unsubscribes, ends the worker and frees the models."""
        self._active = False
        self._camera.close()
        if self._stream:
            self._stream.close()
            self._stream = None

    def _receive(self, message: Any) -> None:
        if self._stream:
            self._stream.receive(message)

    def _match(self) -> None:
        if self._active:
            self._camera.match(self.config)

    def _report(self) -> None:
        silent = self._camera.waiting_for() if self._camera.silence_s > self.config.silence_s else None
        if silent:
            self._log.warning(silent)
        self._outputs.repeat_domain()
        stage = "active" if self._active else "inactive" if self._stream else "unconfigured"
        self._diagnostics.report(stage, silent)

    def _accept(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        try:
            config = settings.applied(self.config, parameters)
            if self._stream and config != self.config:
                self._stream.configure(config)
        except Exception as error:  # a refusal; rclpy would end the node over anything else
            return SetParametersResult(successful=False, reason=reason(error))
        self.config = config
        return SetParametersResult(successful=True)

    def _freeze(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        if self._stream:
            self._stream.freeze(request.data)
        held = "the mixture is held" if request.data else "the mixture follows the domain"
        return self._answer(response, held)

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self._stream:
            self._stream.reset()
        return self._answer(response, "the domain is looked at afresh")

    def _reload_library(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        try:
            rejected = self._stream.reload_library() if self._stream else ""
        except Exception as error:  # the old library stays
            response.success, response.message = False, reason(error)
            return response
        return self._answer(
            response, f"the library is read again, but for: {rejected}" if rejected else "the library is read again"
        )

    def _answer(self, response: Any, done: str) -> Any:
        response.success = self._stream is not None
        response.message = done if self._stream else "not configured: there are no models"
        return response
