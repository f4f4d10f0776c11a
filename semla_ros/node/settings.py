"""The node's own settings, and all settings as ROS parameters."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from dataclasses import Field, dataclass
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from semla_ros.config import Config, OutputConfig, changed, setting, walk
from semla_ros.errors import ConfigError

RELIABILITIES = ("auto", "reliable", "best_effort")


@dataclass(frozen=True)
class NodeConfig(OutputConfig, Config):
    """All settings of the node: the pipeline's, in groups, and its own."""

    image_transport: str = setting("raw", "The topic: image, or image/compressed", choices=("raw", "compressed"))
    image_reliability: str = setting("auto", "auto takes what the publishers offer", choices=RELIABILITIES)
    silence_s: float = setting(5.0, "Time without an image before a warning", low=0.1, high=3600.0, unit="s")
    autostart: bool = setting(True, "Configures and activates itself at the start", read_only=True)


def declare(node: Node) -> NodeConfig:
    """Declares every setting as a parameter; returns them as files and arguments set them.

    Raises:
        ConfigError: A parameter is of the wrong type, out of range or not among its choices.
    """
    try:
        declared = [
            node.declare_parameter(path, _value(value), describe(spec)) for path, spec, value in walk(NodeConfig())
        ]
    except InvalidParameterValueException as error:  # the range in the descriptor, before our own check
        raise ConfigError(str(error)) from error
    return applied(NodeConfig(), declared)


def applied(config: NodeConfig, parameters: Iterable[Parameter[Any]]) -> NodeConfig:
    """The settings with some parameters changed; parameters that are no settings, like use_sim_time, are passed over.

    Raises:
        ConfigError: As for `declare`.
    """
    known = {path for path, _, _ in walk(config)}
    return changed(config, {each.name: each.value for each in parameters if each.name in known})


def describe(spec: Field[Any]) -> ParameterDescriptor:
    """What a setting means, as ROS tools show it."""
    limits = spec.metadata
    low, high = limits["low"], limits["high"]
    descriptor = ParameterDescriptor(
        description=f"{limits['doc']} [{limits['unit']}]" if limits["unit"] else limits["doc"],
        additional_constraints="one of: " + ", ".join(limits["choices"]) if limits["choices"] else "",
        read_only=limits["read_only"],
        dynamic_typing=True,  # so that 1 may stand for 1.0, and a wrong type is refused with our own words
    )
    if type(spec.default) is float and not math.isinf(low):
        top = min(high, sys.float_info.max)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=top)]
    if type(spec.default) is int and not math.isinf(high):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


def _value(default: Any) -> Any:
    return list(default) or [""] if isinstance(default, tuple) else default
