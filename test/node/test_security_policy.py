"""The SROS2 policy against what the live node publishes, subscribes and offers."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest
from policy_file import FILE, policy_file

# Permitted, and present only with some settings, on some distributions or where a message package is installed.
OPTIONAL = {
    "publish": {"/segmentation/label_info"},
    "subscribe": {"/image/compressed", "/clock", "/parameter_events"},
    "reply": {"/semla/get_type_description"},
}


def permitted(action: str) -> set[str]:
    """Full names that the policy permits the node ``/semla`` to publish, subscribe or reply to."""
    root = ElementTree.fromstring(FILE.read_text())
    (profile,) = root.iterfind("enclaves/enclave[@path='/semla']/profiles/profile[@node='semla'][@ns='/']")
    names = [name.text or "" for group in profile.iterfind(f"*[@{action}='ALLOW']") for name in group]
    return {name.replace("~", "/semla") if name.startswith("~") else f"/{name.lstrip('/')}" for name in names}


def test_the_shipped_policy_is_the_one_written_from_the_table_of_topics() -> None:
    assert FILE.read_text() == policy_file(), "run: PYTHONPATH=.:test python -m policy_file"


def test_nothing_is_permitted_by_a_wildcard() -> None:
    assert not any("*" in name for action in OPTIONAL for name in permitted(action))


@pytest.mark.live
def test_the_policy_permits_what_the_live_node_needs_and_nothing_more() -> None:
    pytest.importorskip("rclpy")
    from live.process import STAND_IN
    from live.robot import Robot

    with Robot() as robot:
        process = robot.start(STAND_IN)
        robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
        asked = {
            "publish": robot.node.get_publisher_names_and_types_by_node,
            "subscribe": robot.node.get_subscriber_names_and_types_by_node,
            "reply": robot.node.get_service_names_and_types_by_node,
        }
        for action, ask in asked.items():
            needed: set[str] = set()

            def discovered(action=action, ask=ask, needed=needed) -> bool:  # type: ignore[no-untyped-def]
                needed.update(name for name, _ in ask("semla", "/"))
                return permitted(action) - needed <= OPTIONAL[action]

            robot.until(discovered, f"the node to {action} what the policy permits")
            assert needed <= permitted(action), "run: PYTHONPATH=.:test python -m policy_file"
        assert process.stop() == 0, process.log
