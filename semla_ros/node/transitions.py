"""Lifecycle transitions that log why they failed. rclpy alone hides the exception."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from functools import wraps
from typing import TypeVar

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from semla_ros.errors import SemlaError
from semla_ros.node.signals import Stopped

AnyNode = TypeVar("AnyNode", bound=LifecycleNode)
Transition = Callable[[AnyNode, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition[AnyNode]) -> Transition[AnyNode]:
    """Logs the exception of a transition callback.

    A `SemlaError` makes the transition fail: the node stays in the state it was in. Any other exception leads to
    ROS's error processing, and `Stopped` is not logged because it is no error.
    """

    @wraps(transition)
    def guarded(node: AnyNode, state: LifecycleState) -> TransitionCallbackReturn:
        try:
            return transition(node, state)
        except Stopped:
            return TransitionCallbackReturn.FAILURE
        except SemlaError as error:
            node.get_logger().fatal(str(error))
            return TransitionCallbackReturn.FAILURE
        except Exception:
            node.get_logger().fatal(traceback.format_exc())
            return TransitionCallbackReturn.ERROR

    return guarded
