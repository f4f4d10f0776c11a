"""Starts the node: ``ros2 launch semla_ros semla.launch.py image_topic:=/camera/image_raw``."""

from __future__ import annotations

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

PARAMS_FILE = PathJoinSubstitution([FindPackageShare("semla_ros"), "config", "semla.yaml"])


def semla_node(context: LaunchContext) -> list[Node]:
    """The node. The arguments that are given come before the parameter file."""
    given = {
        "model.bundle": LaunchConfiguration("bundle").perform(context),
        "image_transport": LaunchConfiguration("image_transport").perform(context),
    }
    simulated = LaunchConfiguration("use_sim_time").perform(context).lower() == "true"
    node = Node(
        package="semla_ros",
        executable="semla_node",
        name="semla",
        namespace=LaunchConfiguration("namespace"),
        remappings=[("image", LaunchConfiguration("image_topic"))],
        parameters=[
            LaunchConfiguration("params_file"),
            {name: value for name, value in given.items() if value},
            {"use_sim_time": simulated},
        ],
        output="screen",
    )
    return [node]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    return LaunchDescription(
        [
            DeclareLaunchArgument("image_topic", default_value="image", description="Topic of the camera's images"),
            DeclareLaunchArgument("params_file", default_value=PARAMS_FILE, description="Parameters of the node"),
            DeclareLaunchArgument("namespace", default_value="", description="Namespace of the node and its topics"),
            DeclareLaunchArgument("bundle", default_value="", description="Model bundle, a name or a folder"),
            DeclareLaunchArgument("image_transport", default_value="", description="raw or compressed"),
            DeclareLaunchArgument("use_sim_time", default_value="false", description="Time comes from /clock"),
            OpaqueFunction(function=semla_node),
        ]
    )
