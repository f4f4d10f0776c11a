"""Writes config/sros2_policy.xml: ``PYTHONPATH=.:test python -m policy_file``."""

from __future__ import annotations

from collections.abc import Sequence

from paths import CONFIG

from semla_ros.topics.outputs import TOPICS

HEAD = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- What the node may do in a ROS network that is secured with SROS2; docs/security.md says how to use it. Names are
     relative to ns: set ns to the node's namespace, and write the names of remapped topics in place of image and
     camera_info. With a depth camera add depth_topic and its camera_info; with several cameras, the topics of each.
     Written by test/policy_file.py from the table of topics. -->
"""
FILE = CONFIG / "sros2_policy.xml"
PUBLISHED = (
    *(topic.name for topic in TOPICS), "/diagnostics", "/parameter_events", "/rosout", "~/transition_event",
)  # fmt: skip
SUBSCRIBED = "camera_info", "image", "image/compressed", "/clock", "/parameter_events"
OFFERED = tuple(
    f"~/{name}"
    for name in (
        "freeze", "reload_library", "reset",
        "change_state", "get_available_states", "get_available_transitions", "get_state", "get_transition_graph",
        "describe_parameters", "get_parameter_types", "get_parameters", "list_parameters", "set_parameters",
        "set_parameters_atomically", "get_type_description",
    )
)  # fmt: skip


def policy_file() -> str:
    """The text of an SROS2 policy for the node ``/semla`` in an enclave of that name."""
    rules = [
        *_rules("topics", "publish", "topic", PUBLISHED),
        *_rules("topics", "subscribe", "topic", SUBSCRIBED),
        *_rules("services", "reply", "service", OFFERED),
    ]
    lines = [
        '<policy version="0.2.0">', "  <enclaves>", '    <enclave path="/semla">', "      <profiles>",
        '        <profile ns="/" node="semla">', *(f"          {line}" for line in rules), "        </profile>",
        "      </profiles>", "    </enclave>", "  </enclaves>", "</policy>",
    ]  # fmt: skip
    return HEAD + "\n".join(lines) + "\n"


def _rules(group: str, action: str, kind: str, names: Sequence[str]) -> list[str]:
    return [f'<{group} {action}="ALLOW">', *(f"  <{kind}>{name}</{kind}>" for name in sorted(names)), f"</{group}>"]


if __name__ == "__main__":
    FILE.write_text(policy_file())
