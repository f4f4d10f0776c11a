import os
import sys

import pytest

from semla_ros.node.environment import name_prefix


@pytest.fixture
def wheels(tmp_path, monkeypatch):
    """A Python environment that ROS 2 wheels were installed into."""
    (tmp_path / "share" / "ament_index").mkdir(parents=True)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("AMENT_PREFIX_PATH", "")
    return tmp_path


def test_wheels_are_found_without_a_ros_installation(wheels):
    name_prefix()
    assert os.environ["AMENT_PREFIX_PATH"] == str(wheels)


def test_a_sourced_ros_installation_is_left_alone(wheels, monkeypatch):
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/kilted")
    name_prefix()
    assert os.environ["AMENT_PREFIX_PATH"] == "/opt/ros/kilted"


def test_an_environment_without_wheels_is_not_named(wheels):
    (wheels / "share" / "ament_index").rmdir()
    name_prefix()
    assert os.environ["AMENT_PREFIX_PATH"] == ""
