"""The services and parameters of a running node, called from any thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import GetParameters, ListParameters, SetParametersAtomically
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool, Trigger

from semla_ros.view.source import FREEZE, RELOAD, RESET, ViewError

ANSWER_S, RELOAD_S = 10.0, 300.0  # a large library on a slow disk takes minutes
KINDS = {
    FREEZE: SetBool, RESET: Trigger, RELOAD: Trigger, "list_parameters": ListParameters,
    "get_parameters": GetParameters, "set_parameters_atomically": SetParametersAtomically,
}  # fmt: skip


class RemoteNode:
    """Clients of a node's services.

    Args:
        node: The node that calls; an executor spins it in another thread.
        name: Full name of the node that is called.
    """

    def __init__(self, node: Node, name: str) -> None:
        self.name = name
        self._node = node
        self._clients: dict[str, Any] = {
            what: node.create_client(kind, f"{name}/{what}") for what, kind in KINDS.items()
        }

    def close(self) -> None:
        """Removes the clients."""
        for client in self._clients.values():
            self._node.destroy_client(client)

    def act(self, action: str, value: Any) -> str:
        """Calls ~/freeze, ~/reset or ~/reload_library; returns the node's answer.

        Raises:
            ViewError: The node refused or did not answer.
        """
        fields = {"data": bool(value)} if action == FREEZE else {}
        answer = self._call(action, RELOAD_S if action == RELOAD else ANSWER_S, **fields)
        if not answer.success:
            raise ViewError(f"the node refused {action}", where=self.name, hint=answer.message)
        return str(answer.message)

    def parameters(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """Values by name; all of them without names.

        Raises:
            ViewError: The node did not answer.
        """
        wanted = list(names) or sorted(self._call("list_parameters").result.names)
        values = self._call("get_parameters", names=wanted).values
        pairs = zip(wanted, values, strict=False)  # no values at all for a name that is not known
        return {name: value_of(ParameterMessage(name=name, value=value)) for name, value in pairs}

    def set_parameters(self, values: Mapping[str, Any]) -> None:
        """Changes parameters, all or none.

        Raises:
            ViewError: The node refused, with its reason, or did not answer, or no parameter can have such a value.
        """
        messages = [_message(name, value) for name, value in values.items()]
        result = self._call("set_parameters_atomically", parameters=messages).result
        if not result.successful:
            raise ViewError("parameter refused", where=", ".join(values), hint=result.reason)

    def _call(self, what: str, limit_s: float = ANSWER_S, **fields: Any) -> Any:
        client = self._clients[what]
        if not client.wait_for_service(limit_s if what in (FREEZE, RESET, RELOAD) else 2.0):
            domain = os.environ.get("ROS_DOMAIN_ID", "0")
            hint = f"The node has ended, or is not in ROS domain {domain} any more."
            raise ViewError("nobody answers", where=f"{self.name}/{what}", hint=hint)
        done = threading.Event()
        future = client.call_async(KINDS[what].Request(**fields))
        future.add_done_callback(lambda _: done.set())
        if not done.wait(limit_s):
            client.remove_pending_request(future)
            raise ViewError("no answer", where=f"{self.name}/{what}", got=f"nothing within {limit_s:.0f} s")
        return future.result()


def _message(name: str, value: Any) -> ParameterMessage:
    try:
        return Parameter(name, value=value).to_parameter_msg()
    except (TypeError, ValueError, OverflowError) as error:
        expected = "a number, a text, a truth value or a list of one of these kinds"
        raise ViewError("parameter refused", where=name, got=value, expected=expected) from error


def value_of(message: Any) -> Any:
    """The value of a parameter message, for JSON: arrays as lists."""
    value = Parameter.from_parameter_msg(message).value
    return list(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
