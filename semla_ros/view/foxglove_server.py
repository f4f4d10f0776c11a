"""The source as a Foxglove server: images, annotations, domain state, services and parameters."""

from __future__ import annotations

import logging
import random
import sys
from collections.abc import Mapping
from typing import Any

import foxglove
from foxglove import Channel, Context, StatusLevel
from foxglove.channels import CompressedImageChannel, ImageAnnotationsChannel, LogChannel, RawImageChannel
from foxglove.messages import Log, LogLevel
from foxglove.websocket import Capability, Client, Parameter, ServerListener

from semla_ros.errors import SemlaError
from semla_ros.topics.domain import DomainSample
from semla_ros.view import foxglove_messages as messages
from semla_ros.view.foxglove_services import services
from semla_ros.view.scene import AnyScene
from semla_ros.view.source import Source

LOG = logging.getLogger(__name__)
PREFIX = "/semla"
BACKLOG = 64  # messages that wait for a slow client; older ones are dropped
DOMAIN_SCHEMA = {
    "type": "object",
    "properties": {
        **{name: {"type": "number"} for name in ("support", "distance", "upper_threshold", "lower_threshold", "swaps")},
        "weights": {"type": "object", "additionalProperties": {"type": "number"}},
        "out_of_distribution": {"type": "boolean"},
        "frozen": {"type": "boolean"},
        "error": {"type": "string"},
    },
}
FIGURES_SCHEMA = {"type": "object", "additionalProperties": {"type": "number"}}


class FoxgloveServer:
    """Publishes what is new each time that `update` is called.

    The SDK's server lets everybody connect. It therefore listens on a loopback address and a port that are chosen at
    random, and only `semla_ros.view.server.Server`, which checks its clients, knows them.

    Args:
        source: What is shown.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._context = context = Context()
        self._overlay = CompressedImageChannel(f"{PREFIX}/overlay", context=context)
        self._image = CompressedImageChannel(f"{PREFIX}/image", context=context)
        self._mask = RawImageChannel(f"{PREFIX}/mask", context=context)
        self._confidence = RawImageChannel(f"{PREFIX}/confidence", context=context)
        self._names = ImageAnnotationsChannel(f"{PREFIX}/annotations", context=context)
        self._domain = Channel(f"{PREFIX}/domain", schema=DOMAIN_SCHEMA, context=context)
        self._figures = Channel(f"{PREFIX}/figures", schema=FIGURES_SCHEMA, context=context)
        self._log = LogChannel(f"{PREFIX}/log", context=context)
        self._watched: set[int] = set()
        self._scene: AnyScene | None = None
        self._sample: DomainSample | None = None
        self._known = -1
        self._notices: tuple[str, ...] = ()
        self._failure = ""
        host = random_loopback()
        self._server = foxglove.start_server(
            name=f"semla view {source.title}", host=host, port=0, context=context, message_backlog_size=BACKLOG,
            capabilities=[Capability.Parameters, Capability.Services], supported_encodings=["json"],
            server_listener=_Listener(self), services=services(source, PREFIX),
        )  # fmt: skip
        self.address = f"ws://{host}:{self._server.port}"

    def close(self) -> None:
        """Ends the server."""
        self._server.stop()

    @property
    def is_watched(self) -> bool:
        """Whether a client has subscribed to an image, or to what is written over it."""
        return bool(self._watched_channels())

    def update(self) -> None:
        """Publishes the newest image, domain states and notices that have not been published.

        A failure is logged once and does not end the view.
        """
        try:
            self._update()
            self._failure = ""
        except Exception as error:
            if self._failure != str(error):
                self._failure = str(error)
                LOG.exception("the newest image cannot be sent to Foxglove")

    def parameters(self, names: list[str]) -> list[Parameter]:
        """The parameters that a client asks for; none where there is no answer, with the reason as status."""
        try:
            return _listed(self._source.parameters(names))
        except SemlaError as error:
            self._tell(error)
            return []

    def set_parameters(self, wanted: list[Parameter]) -> list[Parameter]:
        """Sets parameters; returns the values in force afterwards. The reason of a refusal is published as status."""
        try:
            self._source.set_parameters({each.name: each.get_value() for each in wanted})
        except SemlaError as error:
            self._tell(error)
        return self.parameters([each.name for each in wanted])

    def _update(self) -> None:
        before, self._watched = self._watched, self._watched_channels()
        if self._watched - before:
            self._scene = None  # is published again, for a recording may be paused
        if self._watched:  # a recording goes on while it is asked for its newest image
            self._publish_newest()
        _, samples, self._known = self._source.history.since(self._known)
        for sample in samples:
            self._publish_sample(sample)
        if samples and self._figures.has_sinks():
            self._figures.log(dict(self._source.status()["figures"]))
        if changed := self._source.changed_parameters():
            self._server.publish_parameter_values(_listed(changed))
        notices = self._source.notices()
        for each in notices:
            if each.text not in self._notices:
                self._server.publish_status(f"{each.text} {each.hint}".strip(), messages.STATUS_LEVELS[each.level])
        self._notices = tuple(each.text for each in notices)

    def _watched_channels(self) -> set[int]:
        """Ids of the channels of images that a client has subscribed to."""
        channels = (self._overlay, self._image, self._mask, self._confidence, self._names)
        return {channel.id() for channel in channels if channel.has_sinks()}

    def _publish_newest(self) -> None:
        newest = self._source.newest()
        if newest is None or newest is self._scene:
            return
        self._scene, scene = newest, newest.scene
        stamp = scene.stamp_ns
        if self._overlay.has_sinks():
            self._overlay.log(messages.jpeg(scene.overlay, stamp), log_time=stamp)
        if self._image.has_sinks() and scene.rgb is not None:
            self._image.log(messages.jpeg(scene.rgb, stamp), log_time=stamp)
        if self._mask.has_sinks():
            self._mask.log(messages.raw(scene.labels, stamp), log_time=stamp)
        if self._confidence.has_sinks() and scene.confidence is not None:
            self._confidence.log(messages.raw(scene.confidence, stamp), log_time=stamp)
        if self._names.has_sinks():
            self._names.log(messages.names(scene), log_time=stamp)

    def _publish_sample(self, sample: DomainSample) -> None:
        before, self._sample = self._sample, sample
        self._domain.log(messages.domain(sample), log_time=sample.stamp_ns)
        for level, text in messages.events(before, sample):
            stamp = messages.timestamp(sample.stamp_ns)
            self._log.log(Log(timestamp=stamp, level=level, message=text, name="semla"), log_time=sample.stamp_ns)

    def _tell(self, error: SemlaError) -> None:
        self._server.publish_status(str(error), StatusLevel.Warning)
        stamp = self._sample.stamp_ns if self._sample else 0
        self._log.log(Log(timestamp=messages.timestamp(stamp), level=LogLevel.Warning, message=str(error), name="view"))


class _Listener(ServerListener):
    """Passes a client's questions about parameters on, in threads of the SDK."""

    def __init__(self, server: FoxgloveServer) -> None:
        self._server = server

    def on_get_parameters(
        self, client: Client, param_names: list[str], request_id: str | None = None
    ) -> list[Parameter]:
        return self._server.parameters(param_names)

    def on_set_parameters(
        self, client: Client, parameters: list[Parameter], request_id: str | None = None
    ) -> list[Parameter]:
        return self._server.set_parameters(parameters)


def random_loopback() -> str:
    """A loopback address that no other program or page can guess; 127.0.0.1 where the system has no others."""
    if not sys.platform.startswith("linux"):
        return "127.0.0.1"
    draw = random.SystemRandom()
    return f"127.{draw.randint(1, 254)}.{draw.randint(0, 255)}.{draw.randint(1, 254)}"


def _listed(values: Mapping[str, Any]) -> list[Parameter]:
    return [Parameter(name, value=value) for name, value in values.items()]
