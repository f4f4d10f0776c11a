"""Plays a recording into the node and opens rviz: ``ros2 launch semla_ros demo.launch.py recording:=drive/``."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_prefix
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    IncludeLaunchDescription,
    LogInfo,
    OpaqueFunction,
    Shutdown,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackagePrefix, FindPackageShare

from launch import LaunchContext, LaunchDescription

SHARE = FindPackageShare("semla_ros")
SEMLA = PathJoinSubstitution([FindPackagePrefix("semla_ros"), "lib", "semla_ros", "semla"])
RVIZ_FILE = PathJoinSubstitution([SHARE, "config", "semla.rviz"])
ARGUMENTS = (
    ("recording", None, "Bag, video, image or folder of images"),
    ("image_topic", "/camera/image_raw", "Topic of the images; in a bag, the topic to play to the node"),
    ("rate", "1.0", "Speed, as a multiple of the recorded one"),
    ("loop", "true", "true: the recording begins again at its end; false: everything ends with it"),
    ("rviz", "true", "true: opens rviz, where it is installed"),
    ("bundle", "", "Model bundle, a name or a folder"),
    ("device", "", "Device that computes: auto, cpu or cuda"),
    ("depth_topic", "", "Topic of depth images in the bag, for segmentation/points"),
)
PASSED_ON = "image_topic", "bundle", "device", "depth_topic"
LOADING_S = "600"  # the player waits until the node has loaded its models


def everything(context: LaunchContext) -> list[object]:
    """The node, the player, and rviz."""

    def value(name: str) -> str:
        return LaunchConfiguration(name).perform(context)

    node = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "semla.launch.py"])),
        launch_arguments=[(name, value(name)) for name in PASSED_ON],
    )
    recording = Path(value("recording")).expanduser().absolute()
    command = [SEMLA, "play", str(recording), "--image-topic", value("image_topic"), "--rate", value("rate")]
    loop = ["--loop"] if value("loop").lower() == "true" else []
    player = ExecuteProcess(
        cmd=[*command, "--wait", LOADING_S, *loop], name="semla_play", output="screen", on_exit=end_with_the_player
    )
    return [node, player, *rviz(value("rviz").lower() == "true")]


def rviz(wanted: bool) -> list[object]:
    """The rviz process, or what to do without it."""
    if not wanted:
        return []
    try:
        get_package_prefix("rviz2")
    except PackageNotFoundError:
        return [LogInfo(msg="rviz2 is not installed: see segmentation/overlay with another viewer")]
    return [Node(package="rviz2", executable="rviz2", arguments=["-d", RVIZ_FILE], output="log")]


def end_with_the_player(event: object, context: LaunchContext) -> list[object]:
    """Ends everything with the recording; with exit code 1 if it could not be played."""
    code = event.returncode  # type: ignore[attr-defined]
    if code and not context.is_shutdown:
        raise RuntimeError(f"the recording could not be played (exit code {code})")
    return [Shutdown(reason="the recording is over")]


def generate_launch_description() -> LaunchDescription:
    """The arguments and the processes."""
    arguments = [
        DeclareLaunchArgument(name, description=text, **({} if default is None else {"default_value": default}))
        for name, default, text in ARGUMENTS
    ]
    return LaunchDescription([*arguments, OpaqueFunction(function=everything)])
