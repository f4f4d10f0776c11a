"""The node's diagnostics in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semla_ros.topics.domain import DomainSample
from semla_ros.view.shown_camera import camera_names
from semla_ros.view.source import Notice

GONE_S = 5.0  # the node reports once per second
SILENT_S = 5.0
FIGURES = {
    "fps": "fps",
    "latency_ms": "latency_total_ms_median",
    "latency_p95_ms": "latency_total_ms_p95",
    "age_ms": "age_ms_median",
    "received": "frames_received",
    "segmented": "frames_segmented",
    "dropped": "frames_dropped",
    "failed": "frames_failed",
    "memory_mb": "memory_mb",
}
NO_IMAGE = "no image on "  # begins the node's warning about a silent camera


def figures(report: Mapping[str, str]) -> dict[str, float]:
    """The figures that the page shows, from the values of the node's report in /diagnostics."""
    found = {}
    for name, key in FIGURES.items():
        try:
            found[name] = float(report[key])
        except (KeyError, ValueError):
            continue  # no image has been segmented yet
    return found


@dataclass(frozen=True)
class Health:
    """What is known about a running node at one moment.

    Attributes:
        wanted: Full name of the node that was asked for; empty for any.
        name: Full name of the node that was found; empty before one was found.
        ros_domain: Number of the ROS domain.
        report_age_s: Time since the node's last report, seconds.
        scene_age_s: Time since the last segmented image, or since the start, seconds.
        report: Values of the last report.
        camera: Name of the camera that was asked for; empty for any.
        warning: Message of the last report if it is a warning, otherwise empty.
        sample: The last domain state.
        missing_images: Number of masks in a row without their camera image.
        error: Why the last message could not be used; empty if it could.
    """

    wanted: str
    name: str
    ros_domain: str
    report_age_s: float
    scene_age_s: float
    report: Mapping[str, str]
    camera: str
    warning: str
    sample: DomainSample | None
    missing_images: int
    error: str

    def notices(self) -> list[Notice]:
        """What the viewer should know, the most important first."""
        if not self.name:
            return [self._not_found()]
        if self.report_age_s > GONE_S:
            text = f"The node {self.name} has not reported for {self.report_age_s:.0f} s."
            hint = "It has ended or the network is gone. Start it again: this page connects by itself."
            return [Notice("error", text, hint)]
        return [*self._of_node(), *(domain_notices(self.sample) if self.sample else ()), *self._of_images()]

    def _not_found(self) -> Notice:
        who = f"The node {self.wanted} has not reported" if self.wanted else "No semla node has reported"
        hint = "Start one: semla_node --ros-args -r image:=/camera/image_raw. If it runs already, start this view with "
        return Notice("info", f"{who} in ROS domain {self.ros_domain}.", hint + "the ROS_DOMAIN_ID of the node.")

    def _of_node(self) -> list[Notice]:
        state = self.report.get("state", "active")
        if state != "active":
            hint = f"Activate it: ros2 lifecycle set {self.name} configure, then the same with activate."
            return [Notice("warning", f"The node {self.name} is {state}.", hint)]
        if self.warning.startswith(NO_IMAGE):
            image = "CAMERA/image" if camera_names(self.report) else "image"
            hint = f"Start the camera, or start the node with -r {image}:=TOPIC if its images come on another topic."
            return [Notice("error", f"No image arrives on {self.warning.removeprefix(NO_IMAGE)}.", hint)]
        if self.warning:
            return [Notice("warning", f"The node reports: {self.warning}")]
        if self.scene_age_s > SILENT_S and not figures(self.report).get("fps"):
            return [Notice("info", "No image has been segmented for some seconds.", "The page waits for the next one.")]
        return []

    def _of_images(self) -> list[Notice]:
        found = []
        names = camera_names(self.report)
        if self.camera and self.camera not in names:
            text = f"The node has no camera {self.camera}."
            found.append(
                Notice("warning", text, f"Its cameras: {', '.join(names)}." if names else "It has one camera.")
            )
        if self.missing_images > 2:
            text = "The camera's images do not arrive here, so the classes are shown without them."
            hint = "Large best-effort images need shared memory: docs/node.md, config/fastdds_large_images.xml."
            found.append(Notice("warning", text, hint))
        if self.error:
            found.append(Notice("warning", f"A message could not be shown: {self.error}"))
        return found


def domain_notices(sample: DomainSample) -> list[Notice]:
    """What the domain state says."""
    found = []
    if sample.error:
        text = f"The adaptation fails: {sample.error}"
        found.append(Notice("error", text, "Images are still segmented, with the last mixture that worked."))
    if sample.out_of_distribution:
        text = "Out of distribution: the images are unlike the training images of every adapter."
        hint = "Trust the segmentation less. An adapter trained on such images helps: see 'semla library gaps'."
        found.append(Notice("warning", text, hint))
    if sample.frozen:
        found.append(
            Notice("info", "The mixture is frozen: it does not follow the domain.", "Unfreeze lets it follow.")
        )
    return found
