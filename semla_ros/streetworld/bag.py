"""A drive as a ROS 2 bag (MCAP): what the camera publishes, and the truth."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from tqdm import tqdm

from semla_ros.errors import RecordingError
from semla_ros.streetworld.camera import Camera
from semla_ros.streetworld.drive import Drive, DriveFrame

TOPICS = {
    "/camera/image_raw": "sensor_msgs/msg/Image",
    "/camera/camera_info": "sensor_msgs/msg/CameraInfo",
    "/camera/ground_truth": "sensor_msgs/msg/Image",
    "/camera/domain": "std_msgs/msg/String",
}
STORE = get_typestore(Stores.ROS2_JAZZY)


def write_drive(path: Path, drive: Drive) -> None:
    """Writes a drive as a bag folder.

    Topics: /camera/image_raw (rgb8), /camera/camera_info, /camera/ground_truth (mono8, class ids) and
    /camera/domain (JSON: domain, steady).

    Args:
        path: The bag's folder; must not exist yet.
        drive: What to record.

    Raises:
        RecordingError: Something is at ``path`` already.
    """
    if path.exists():
        raise RecordingError("bag exists already", where=path, hint="Remove it, or write to another folder")
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connections = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in TOPICS.items()}
        for shot in tqdm(drive.frames(), desc="drive", total=len(drive)):
            for topic, message in _messages(shot, drive.camera).items():
                data = STORE.serialize_cdr(message, TOPICS[topic])
                writer.write(connections[topic], shot.frame.stamp_ns, data)


def _messages(shot: DriveFrame, camera: Camera) -> dict[str, Any]:
    header = _header(shot.frame.stamp_ns, shot.frame.frame_id)
    truth = json.dumps({"domain": shot.domain, "steady": shot.steady})
    return {
        "/camera/image_raw": _image(header, shot.frame.rgb, "rgb8"),
        "/camera/camera_info": _camera_info(header, camera),
        "/camera/ground_truth": _image(header, shot.labels, "mono8"),
        "/camera/domain": STORE.types["std_msgs/msg/String"](data=truth),
    }


def _header(stamp_ns: int, frame_id: str) -> Any:
    seconds, rest = divmod(stamp_ns, 1_000_000_000)
    stamp = STORE.types["builtin_interfaces/msg/Time"](sec=seconds, nanosec=rest)
    return STORE.types["std_msgs/msg/Header"](stamp=stamp, frame_id=frame_id)


def _image(header: Any, pixels: NDArray[np.uint8], encoding: str) -> Any:
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(-1)
    return STORE.types["sensor_msgs/msg/Image"](
        header=header, height=height, width=width, encoding=encoding, is_bigendian=0, step=data.size // height, data=data
    )


def _camera_info(header: Any, camera: Camera) -> Any:
    k = camera.matrix
    p = np.hstack([k, np.zeros((3, 1))])
    region = STORE.types["sensor_msgs/msg/RegionOfInterest"](x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    return STORE.types["sensor_msgs/msg/CameraInfo"](
        header=header, height=camera.height, width=camera.width, distortion_model="plumb_bob", d=np.zeros(5),
        k=k.reshape(-1), r=np.eye(3).reshape(-1), p=p.reshape(-1), binning_x=0, binning_y=0, roi=region,
    )  # fmt: skip
