"""Topics of the demo: what the camera publishes and what the recorder records."""

from __future__ import annotations

from semla_ros.recordings.writer import STORE
from semla_ros.topics import outputs

NAMESPACE = "/semla"  # of the node
IMAGE, CAMERA_INFO = "/camera/image_raw", "/camera/camera_info"
MASK, CONFIDENCE, STATE = (f"{NAMESPACE}/{name}" for name in (outputs.MASK, outputs.CONFIDENCE, outputs.STATE))
DIAGNOSTICS = "/diagnostics"

_WRITABLE = [each for each in outputs.TOPICS if not each.on_demand and each.kind in STORE.types]
OUTPUTS = {f"{NAMESPACE}/{each.name}": each for each in _WRITABLE}
FROM_NODE = {name: each.kind for name, each in OUTPUTS.items()} | {DIAGNOSTICS: "diagnostic_msgs/msg/DiagnosticArray"}
RECORDED = FROM_NODE | {CAMERA_INFO: "sensor_msgs/msg/CameraInfo"}
TRANSIENT_LOCAL = {name for name, each in OUTPUTS.items() if each.transient_local}
