"""Starts the node: ``ros2 launch semla_ros semla.launch.py image_topic:=/camera/image_raw``."""

from __future__ import annotations

from pathlib import Path
from shutil import which

from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare

from launch import LaunchContext, LaunchDescription

PARAMS_FILE = PathJoinSubstitution([FindPackageShare("semla_ros"), "config", "semla.yaml"])
# On SIGTERM, launch ends at once and leaves its processes behind. Linux then ends the node with SIGTERM, too.
END_WITH_LAUNCH = "setpriv --pdeathsig TERM" if which("setpriv") else None
ARGUMENTS = (
    ("image_topic", "image", "Topic of the camera's images"),
    ("params_file", PARAMS_FILE, "Parameters of the node"),
    ("namespace", "", "Namespace of the node and its topics"),
    ("bundle", "", "Model bundle, a name or a folder"),
    ("device", "", "Device that computes: auto, cpu or cuda"),
    ("image_transport", "", "raw or compressed"),
    ("depth_topic", "", "Topic of depth images that are aligned with the camera image, for segmentation/points"),
    ("autostart", "", "true: the node configures and activates itself; false: a lifecycle manager does"),
    ("use_sim_time", "false", "Time comes from /clock"),
    ("log_level", "info", "debug, info, warn, error or fatal"),
    ("respawn", "false", "true: the node is started again 2 s after it has died"),
)


def semla_node(context: LaunchContext) -> list[Node]:
    """The node. The arguments that are given take precedence over the parameter file."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    if not Path(value("params_file")).is_file():  # launch itself would only warn, and start with defaults
        raise FileNotFoundError(f"params_file: no such file: {value('params_file')}")
    given = {"model.bundle": "bundle", "model.device": "device"}
    given |= {name: name for name in ("image_transport", "depth_topic")}
    switches = {"use_sim_time": value("use_sim_time"), "autostart": value("autostart")}
    respawn = value("respawn").lower() == "true"
    node = Node(
        package="semla_ros",
        executable="semla_node",
        exec_name="semla_node",
        name="semla",
        namespace=LaunchConfiguration("namespace"),
        remappings=[("image", LaunchConfiguration("image_topic"))],
        parameters=[
            LaunchConfiguration("params_file"),
            {name: value(argument) for name, argument in given.items() if value(argument)},
            {name: text.lower() == "true" for name, text in switches.items() if text},
        ],
        ros_arguments=["--log-level", LaunchConfiguration("log_level")],
        respawn=respawn,
        respawn_delay=2.0,
        prefix=END_WITH_LAUNCH,
        on_exit=None if respawn else end_with_the_node,
        output="screen",
    )
    return [node]


def end_with_the_node(event: ProcessExited, context: LaunchContext) -> None:
    """Ends the launch with exit code 1 if the node has failed, so that whoever started it notices."""
    if event.returncode and not context.is_shutdown:
        raise RuntimeError(f"{event.process_name} has failed with exit code {event.returncode}")


def generate_launch_description() -> LaunchDescription:
    """The arguments and the node."""
    arguments = [DeclareLaunchArgument(name, default_value=value, description=text) for name, value, text in ARGUMENTS]
    return LaunchDescription([*arguments, OpaqueFunction(function=semla_node)])
