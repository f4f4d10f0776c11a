"""The node's own settings, and all settings as ROS parameters."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import Field
from typing import Any

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import InvalidParameterValueException
from rclpy.node import Node
from rclpy.parameter import Parameter

from semla_ros.config import NodeConfig, changed, walk
from semla_ros.errors import ConfigError

FOREIGN = "use_sim_time", "start_type_description_service", "qos_overrides."  # beginnings of names that ROS reads


def declare(node: Node) -> NodeConfig:
    """Declares every setting as a parameter; returns the settings with the values of files and arguments.

    Raises:
        ConfigError: A parameter is unknown, of the wrong type, out of range or not among its choices.
    """
    _check_names(node)
    try:
        declared = [_declared(node, path, spec, value) for path, spec, value in walk(NodeConfig())]
    except InvalidParameterValueException as error:  # the range in the descriptor is checked before our own check
        raise ConfigError(str(error)) from error
    return applied(NodeConfig(), declared)


def applied(config: NodeConfig, parameters: Iterable[Parameter[Any]]) -> NodeConfig:
    """Returns the settings with some parameters changed.

    Parameters that are no settings, such as use_sim_time, are ignored.

    Raises:
        ConfigError: As for `declare`.
    """
    known = {path for path, _, _ in walk(config)}
    result = changed(config, {each.name: each.value for each in parameters if each.name in known})
    if result.output_size == "cloud" and not result.depth_topic:
        raise ConfigError("no depth camera", where="output_size", got="cloud", expected="image, or a depth_topic")
    _check_cameras(result)
    return result


def differing(config: NodeConfig, other: NodeConfig) -> list[Parameter[Any]]:
    """Returns the parameters of ``config`` whose values differ in ``other``."""
    others = {path: value for path, _, value in walk(other)}
    return [Parameter(path, value=_value(value)) for path, _, value in walk(config) if value != others[path]]


def describe(spec: Field[Any]) -> ParameterDescriptor:
    """Returns description, range and choices of a setting for ROS tools."""
    limits = spec.metadata
    low, high = limits["low"], limits["high"]
    descriptor = ParameterDescriptor(
        description=f"{limits['doc']} [{limits['unit']}]" if limits["unit"] else limits["doc"],
        additional_constraints="one of: " + ", ".join(limits["choices"]) if limits["choices"] else "",
        read_only=limits["read_only"],
        dynamic_typing=True,  # 1 is accepted for 1.0, and our own message refuses a wrong type
    )
    if type(spec.default) is float and not math.isinf(low):
        top = min(high, sys.float_info.max)
        descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=top)]
    if type(spec.default) is int and not math.isinf(high):
        descriptor.integer_range = [IntegerRange(from_value=low, to_value=high)]
    return descriptor


@contextmanager
def qos_overrides_checked(where: str) -> Iterator[None]:
    """Names the parameters behind rclpy's error for a wrong QoS override.

    Raises:
        ConfigError: A ``qos_overrides`` parameter has a wrong type or value.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise ConfigError("wrong QoS override", where=f"qos_overrides of {where}", hint=str(error)) from error


def _check_cameras(config: NodeConfig) -> None:
    """Raises a ConfigError unless the cameras can be told apart and those that decide the domain are among them."""
    for setting in ("cameras", "domain_cameras"):
        names = getattr(config, setting)
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ConfigError("camera named twice", where=setting, got=twice)
    for name in config.cameras:
        if not re.fullmatch(r"[A-Za-z]\w*(/[A-Za-z]\w*)*", name, re.ASCII):
            expected = "letters, digits and underscores, such as front_left"
            raise ConfigError("not a valid camera name", where="cameras", got=name, expected=expected)
    for name in config.domain_cameras:
        if name not in config.cameras:
            expected = " or ".join(config.cameras) or "an empty list, as there is one camera"
            raise ConfigError("no such camera", where="domain_cameras", got=name, expected=expected)
    if config.domain_per_camera:
        _check_own_domains(config)


def _check_own_domains(config: NodeConfig) -> None:
    """Raises a ConfigError if cameras that have a domain each are to share one."""
    for setting, got, alone, hint in (
        ("domain_cameras", ", ".join(config.domain_cameras), "", "They decide a domain that all cameras share."),
        ("camera_batch", config.camera_batch, 1, "Images that are segmented in one pass have the same mixture."),
    ):
        if got != alone:
            expected = f"{alone or 'an empty list'} with domain_per_camera"
            raise ConfigError(
                "each camera has a domain of its own", where=setting, got=got, expected=expected, hint=hint
            )


def _check_names(node: Node) -> None:
    """Refuses parameters of files and arguments that are no settings; rclpy would ignore them silently."""
    overrides: Iterable[str] = getattr(node, "_parameter_overrides", ())  # rclpy has no public name for them
    known = {path for path, _, _ in walk(NodeConfig())}
    unknown = [name for name in overrides if name not in known and not name.startswith(FOREIGN)]
    changed(NodeConfig(), dict.fromkeys(unknown))  # raises if there are any, and names the nearest settings


def _declared(node: Node, path: str, spec: Field[Any], default: Any) -> Parameter[Any]:
    parameter: Parameter[Any] = node.declare_parameter(path, _value(default), describe(spec))
    if parameter.value is None and isinstance(default, tuple):  # [] in a parameter file reaches ROS as "not set"
        parameter = Parameter(path, value=_value(()))
        node.set_parameters([parameter])
    return parameter


def _value(default: Any) -> Any:
    """The value of a setting as a parameter. ROS has no type for an empty list: [""] stands for it."""
    return list(default) or [""] if isinstance(default, tuple) else default
