"""Names of topics that come from settings or from recordings."""

from __future__ import annotations

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from semla_ros.errors import SemlaError


def check_topic_name(name: str, where: object, error: type[SemlaError]) -> None:
    """Checks that ROS accepts a name of a topic.

    Args:
        name: The name.
        where: The setting or the recording that it comes from.
        error: Type of the error.

    Raises:
        SemlaError: The name is not one of a topic; of the type ``error``.
    """
    try:
        validate_topic_name(name)
    except InvalidTopicNameException as cause:
        raise error(
            "not a name in ROS 2", where=where, got=repr(name),
            expected="letters, digits, '_' and '/', without a digit after '/' and without '/' at the end",
        ) from cause  # fmt: skip
