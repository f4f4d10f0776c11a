"""Files for rviz, Foxglove and PlotJuggler: they name topics that the node publishes, of the types they show."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from typing import Any

import yaml
from paths import CONFIG

from semla_ros.pipeline.domain_state import DomainState
from semla_ros.topics import outputs
from semla_ros.topics.domain import key_values
from semla_ros.topics.sources import DomainReport

KINDS = {f"/{topic.name}": topic.kind for topic in outputs.TOPICS}
DIAGNOSTICS = "diagnostic_msgs/msg/DiagnosticArray"
KINDS["/diagnostics"] = DIAGNOSTICS
IMAGE, POINTS = "sensor_msgs/msg/Image", "sensor_msgs/msg/PointCloud2"
DISPLAYS = yaml.safe_load((CONFIG / "semla.rviz").read_text())["Visualization Manager"]["Displays"]
RVIZ = [each for each in DISPLAYS if "Topic" in each]
STATUS = DomainReport.of(DomainState(), None, "/semla")
KEYS = key_values(DomainState())


def test_rviz_shows_topics_that_the_node_publishes_with_the_types_of_the_displays() -> None:
    kinds = {"rviz_default_plugins/Image": IMAGE, "rviz_default_plugins/PointCloud2": POINTS}
    shown = {each["Topic"]["Value"]: kinds[each["Class"]] for each in RVIZ}
    assert {topic: KINDS[topic] for topic in shown} == shown
    assert set(shown) == {"/segmentation/overlay", "/segmentation/confidence", "/segmentation/points"}


def test_rviz_subscribes_with_a_reliability_that_the_node_offers() -> None:
    displays = yaml.safe_load((CONFIG / "semla.rviz").read_text())["Visualization Manager"]["Displays"]
    qos = [
        (each["Topic"]["Reliability Policy"], each["Topic"]["Durability Policy"])
        for each in displays
        if "Topic" in each
    ]
    assert set(qos) == {("Reliable", "Volatile")}


FOXGLOVE = json.loads((CONFIG / "foxglove_layout.json").read_text())
PANELS: dict[str, dict[str, Any]] = FOXGLOVE["configById"]


def panels(kind: str) -> list[dict[str, Any]]:
    return [panel for name, panel in PANELS.items() if name.startswith(f"{kind}!")]


def leaves(layout: Any) -> Iterator[str]:
    if isinstance(layout, str):
        yield layout
    else:
        assert layout["direction"] in ("row", "column")
        yield from leaves(layout["first"])
        yield from leaves(layout["second"])


def test_foxglove_places_each_panel_once() -> None:
    assert sorted(leaves(FOXGLOVE["layout"])) == sorted(PANELS)


def test_foxglove_shows_topics_that_the_node_publishes_with_the_types_of_the_panels() -> None:
    modes = [panel["imageMode"] for panel in panels("Image")]
    assert {KINDS[mode["imageTopic"]] for mode in modes} == {IMAGE}
    assert {KINDS[mode["calibrationTopic"]] for mode in modes if "calibrationTopic" in mode} == {
        "sensor_msgs/msg/CameraInfo"
    }
    assert {KINDS[topic] for panel in panels("3D") for topic in panel["topics"]} == {POINTS}
    summaries = panels("DiagnosticSummary") + panels("DiagnosticStatusPanel")
    assert {KINDS[panel["topicToRender"]] for panel in summaries} == {DIAGNOSTICS}
    assert [panel["selectedName"] for panel in panels("DiagnosticStatusPanel")] == [STATUS.name]


def test_foxglove_plots_values_that_the_node_publishes() -> None:
    for path in (path["value"] for panel in panels("Plot") for path in panel["paths"]):
        topic, _, field = path.partition(".")
        if KINDS[topic] == DIAGNOSTICS:
            assert field.split('"')[1] in KEYS
        else:
            assert (KINDS[topic], field) == ("std_msgs/msg/Float32", "data")


def test_foxglove_calls_services_of_the_node() -> None:
    called = {panel["serviceName"]: json.loads(panel["requestPayload"]) for panel in panels("CallService")}
    assert called == {"/semla/freeze": {"data": True}, "/semla/reset": {}}


def test_plotjuggler_plots_values_of_the_topics_that_it_subscribes_to() -> None:
    root = ElementTree.parse(CONFIG / "plotjuggler_layout.xml").getroot()
    topics = [topic for each in root.iter("selected_topics") for topic in each.attrib["value"].split(";")]
    assert set(topics) <= set(KINDS)
    # PlotJuggler names the series of a diagnostic status <topic>/<status name>/<key>.
    series = {f"/domain/state/{STATUS.name}/{key}" for key in KEYS} | {"/domain/support/data"}
    curves = [each.attrib["name"] for each in root.iter("curve")]
    assert len(curves) > 4
    assert set(curves) <= series
