"""What is asked of a running node without asking it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("rclpy")

from semla_ros.view.remote import RemoteNode
from semla_ros.view.source import ViewError


@pytest.mark.parametrize("value", [{"a": 1}, [1, "two"], [[1]], [2**70], [None], object()])
def test_a_parameter_value_that_no_parameter_can_have_is_refused_with_the_reason(value: Any) -> None:
    node: Any = SimpleNamespace(create_client=lambda kind, name: None)
    with pytest.raises(ViewError, match=r"parameter refused \(fusion.k\): got .*expected a number, a text") as refused:
        RemoteNode(node, "/semla").set_parameters({"fusion.temperature": 0.1, "fusion.k": value})
    assert "fusion.temperature" not in str(refused.value)
