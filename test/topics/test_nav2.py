"""Our messages, read as Nav2's semantic_segmentation_layer reads them, with the parameters of our example file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from clouds import fields_of, point_array
from numpy.typing import NDArray
from paths import CONFIG, ROOT
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from semla_ros.images.classes import CITYSCAPES_COLORS, class_names, class_table
from semla_ros.topics import messages, outputs
from semla_ros.topics.sources import ClassList, DepthView, SegmentedImage

STORE = get_typestore(Stores.ROS2_HUMBLE)
STORE.register(get_types_from_msg("uint16 class_id\nstring class_name", "vision_msgs/msg/VisionClass"))
STORE.register(
    get_types_from_msg(
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold", "vision_msgs/msg/LabelInfo"
    )
)
COSTMAP = yaml.safe_load((CONFIG / "nav2_semantic_layer.yaml").read_text())["local_costmap"]["local_costmap"][
    "ros__parameters"
]
LAYER = COSTMAP["semantic_layer"]
CAMERA = LAYER["camera"]
HEIGHT, WIDTH, FOCAL, CAMERA_HEIGHT = 60, 80, 70.0, 1.0
# What the layer declares; it ignores any other name.
OF_LAYER = {
    "plugin", "enabled", "combination_method", "observation_sources", "publish_debug_topics",
    "use_approximate_time_sync", "sensor_data_depth",
}  # fmt: skip
OF_SOURCE = {
    "segmentation_topic", "confidence_topic", "labels_topic", "pointcloud_topic", "observation_persistence",
    "expected_update_rate", "class_types", "max_obstacle_distance", "min_obstacle_distance", "tile_map_decay_time",
    "visualize_tile_map", "use_cost_selection", "camera_horizontal_fov", "camera_vertical_fov", "fov_decay_time",
    "outside_fov_decay_time", "visualize_frustum_fov",
}  # fmt: skip
OF_CLASS_TYPE = {"classes", "base_cost", "max_cost", "mark_confidence", "samples_to_max_cost", "dominant_priority"}


def new(kind: str, /, **fields: Any) -> Any:
    return STORE.types[kind](**fields)


def received(message: Any) -> Any:
    """The message after its way over the network."""
    return STORE.deserialize_cdr(STORE.serialize_cdr(message, message.__msgtype__), message.__msgtype__)


def class_type_of(name: str) -> str:
    (found,) = (each for each in CAMERA["class_types"] if name in CAMERA[each]["classes"])
    return str(found)


class Layer:
    """Finds the class of each tile of the costmap, as the layer does for one camera image.

    It takes the bytes of mask and confidence as one per pixel, in the order of the points.
    """

    def __init__(self, labels: Any) -> None:
        known = {name for each in CAMERA["class_types"] for name in CAMERA[each]["classes"]}
        self.names = {each.class_id % 256: each.class_name for each in labels.class_map if each.class_name in known}

    def tiles(self, mask: Any, confidence: Any, cloud: Any) -> dict[tuple[int, int], str]:
        pixels = mask.width * mask.height
        assert pixels == cloud.width * cloud.height
        assert len(mask.data) >= pixels
        assert len(confidence.data) >= pixels
        assert {fields_of(cloud)[name] for name in "xyz"} == {"<f4"}
        points = point_array(cloud).ravel()
        best: dict[tuple[int, int], int] = {}
        for index in np.flatnonzero(np.isfinite(points["z"])):
            x, y, z = self.in_global_frame(points[index])
            distance = np.linalg.norm([x, y, z - CAMERA_HEIGHT])
            if CAMERA["min_obstacle_distance"] < distance < CAMERA["max_obstacle_distance"]:
                tile = int(np.floor(x / COSTMAP["resolution"])), int(np.floor(y / COSTMAP["resolution"]))
                if tile not in best or self.max_cost(mask.data[index]) > self.max_cost(mask.data[best[tile]]):
                    best[tile] = int(index)
        seen = {tile: int(mask.data[index]) for tile, index in best.items()}
        return {tile: self.names[number] for tile, number in seen.items() if number in self.names}

    def max_cost(self, number: int) -> int:
        return int(CAMERA[class_type_of(self.names[number])]["max_cost"]) if number in self.names else 0

    @staticmethod
    def in_global_frame(point: Any) -> tuple[float, float, float]:
        """From the optical frame of a camera that looks along x, CAMERA_HEIGHT above the floor."""
        return float(point["z"]), -float(point["x"]), CAMERA_HEIGHT - float(point["y"])


def floor() -> NDArray[np.float32]:
    """Depth of the floor, metres; 0 above the horizon."""
    below = np.arange(HEIGHT) - HEIGHT / 2 + 0.5
    depth = np.where(below > 0, FOCAL * CAMERA_HEIGHT / np.maximum(below, 0.1), 0.0)
    return np.repeat(depth[:, None], WIDTH, axis=1).astype(np.float32)


def scene(labels: NDArray[np.uint8], names: tuple[str, ...]) -> tuple[Any, Any, Any, Any]:
    """label_info, mask, confidence and points of a camera above the floor."""
    header, values = messages.header(3_000_000_000, "camera", new), floor()
    depth = new(
        "sensor_msgs/msg/Image", header=header, height=HEIGHT, width=WIDTH, encoding="32FC1", is_bigendian=0,
        step=4 * WIDTH, data=np.frombuffer(values.tobytes(), np.uint8),
    )  # fmt: skip
    k = np.array([FOCAL, 0, WIDTH / 2 - 0.5, 0, FOCAL, HEIGHT / 2 - 0.5, 0, 0, 1.0])
    roi = new("sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False)
    info = new(
        "sensor_msgs/msg/CameraInfo", header=header, height=HEIGHT, width=WIDTH, distortion_model="plumb_bob",
        d=np.zeros(5), k=k, r=np.zeros(9), p=np.zeros(12), binning_x=0, binning_y=0, roi=roi,
    )  # fmt: skip
    classes = class_table(names)
    rgb, confidence = np.zeros((HEIGHT, WIDTH, 3), np.uint8), np.full((HEIGHT, WIDTH), 200, np.uint8)
    image = SegmentedImage(header, rgb, labels, confidence, classes, 0.5, 0.1, None, DepthView("/depth", depth, info))
    made = {topic.name: topic for topic in outputs.TOPICS}
    label_info = made[outputs.LABEL_INFO].make(ClassList(header, classes, 0.0), new)
    images = (made[name].make(image, new) for name in (outputs.MASK, outputs.CONFIDENCE, outputs.POINTS))
    return (received(label_info), *map(received, images))  # type: ignore[return-value]


def test_the_layer_finds_each_class_on_the_tiles_where_the_camera_sees_it() -> None:
    labels = np.zeros((HEIGHT, WIDTH), np.uint8)
    labels[:, WIDTH // 2 :] = 1  # the right half
    labels[-10:, 30:50] = 255  # unlabelled
    label_info, mask, confidence, cloud = scene(labels, ("road, street", "sidewalk"))
    tiles = Layer(label_info).tiles(mask, confidence, cloud)
    assert {name for (_, y), name in tiles.items() if y > 0} == {"road"}
    assert {name for (_, y), name in tiles.items() if y < -1} == {"sidewalk"}
    assert len(tiles) > 200
    assert (54, -1) not in tiles  # 2.7 m ahead, where the mask is unlabelled
    assert (54, 20) in tiles


def test_the_encodings_are_those_that_the_layer_assumes() -> None:
    _, mask, confidence, cloud = scene(np.zeros((HEIGHT, WIDTH), np.uint8), ("road",))
    assert (mask.encoding, confidence.encoding) == ("mono8", "mono8")
    assert mask.step == mask.width == confidence.step
    stamps = {(each.header.stamp.sec, each.header.stamp.nanosec) for each in (mask, confidence, cloud)}
    assert len(stamps) == 1


def test_the_example_subscribes_to_topics_that_the_node_publishes_with_the_types_of_the_layer() -> None:
    kinds = {f"/{topic.name}": topic.kind for topic in outputs.TOPICS}
    assert kinds[CAMERA["segmentation_topic"]] == kinds[CAMERA["confidence_topic"]] == "sensor_msgs/msg/Image"
    assert kinds[CAMERA["pointcloud_topic"]] == "sensor_msgs/msg/PointCloud2"
    assert kinds[CAMERA["labels_topic"]] == "vision_msgs/msg/LabelInfo"


def test_the_example_has_only_settings_that_the_layer_reads() -> None:
    assert set(LAYER) - {"camera"} <= OF_LAYER
    assert set(CAMERA) - set(CAMERA["class_types"]) <= OF_SOURCE
    assert all(set(CAMERA[each]) == OF_CLASS_TYPE for each in CAMERA["class_types"])
    assert "semantic_layer" in COSTMAP["plugins"]


@pytest.mark.parametrize("source", ["the bundled model", "Cityscapes"])
def test_the_example_names_every_class_once(source: str) -> None:
    bundled = yaml.safe_load((ROOT / "models" / "streetworld" / "bundle.yaml").read_text())["classes"]
    table = class_table(tuple(bundled) if source == "the bundled model" else tuple(CITYSCAPES_COLORS))
    assert all(class_type_of(name) for name in class_names(table))
