"""The node's services: ~/freeze, ~/reset and ~/reload_library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.node import Node
from rclpy.task import Future as RosFuture
from std_srvs.srv import SetBool, Trigger

from semla_ros.node.signals import Stopped
from semla_ros.node.stream import Stream
from semla_ros.node.throttled_log import reason

PREVIOUS = "The previous library stays in use."


class Services:
    """Answers services while frames are computed; what they change is in force from the next frame on.

    Args:
        node: The node that offers the services.
        stream: Returns the running pipeline; None while the node is not configured.
    """

    def __init__(self, node: Node, stream: Callable[[], Stream | None]) -> None:
        self._stream, self._logger = stream, node.get_logger()
        node.create_service(SetBool, "~/freeze", self._freeze)
        node.create_service(Trigger, "~/reset", self._reset)
        alone = MutuallyExclusiveCallbackGroup()  # in the node's own group it would hold back all other callbacks
        node.create_service(Trigger, "~/reload_library", self._reload_library, callback_group=alone)

    def _freeze(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        def freeze(stream: Stream) -> str:
            stream.freeze(request.data)
            return "the mixture is held" if request.data else "the mixture follows the domain"

        return self._answer(response, freeze)

    def _reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        def reset(stream: Stream) -> str:
            stream.reset()
            return "the next frame is treated as the first"

        return self._answer(response, reset)

    async def _reload_library(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Answers when the library has been read. Until then the executor goes on with the node's other callbacks."""
        stream = self._stream()
        if stream is None:
            return self._answer(response, str)
        reload = stream.reload_library()
        done: RosFuture[None] = RosFuture()
        reload.add_done_callback(lambda _: done.set_result(None))
        await done
        return self._answer(response, lambda _: f"the library was read again: {reload.result()}", PREVIOUS)

    def _answer(self, response: Any, action: Callable[[Stream], str], consequence: str = "") -> Any:
        """Fills ``success`` and ``message``, which is logged; an error becomes the message of a refusal.

        Args:
            response: What is filled.
            action: Returns the message.
            consequence: Sentence that follows the message of a refusal, unless the node frees its models.
        """
        stream = self._stream()
        if stream is None:
            response.success, response.message = False, "not configured: no models are loaded"
            return response
        try:
            response.success, response.message = True, action(stream)
            self._logger.info(response.message)
        except Exception as error:
            response.success, response.message = False, reason(error)
            if consequence and not isinstance(error, Stopped):
                response.message = f"{response.message.removesuffix('.')}. {consequence}"
        return response
