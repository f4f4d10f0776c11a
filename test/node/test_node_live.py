"""The running node, over real DDS, around a pipeline whose timing and errors the tests decide."""

import array
import json
import time

import cv2
import numpy as np
import pytest
from paths import CONFIG

pytest.importorskip("rclpy")

from live.process import STAND_IN, Process, free_domain
from live.robot import Robot, image, stamp_ns
from live.stand_in import BROKEN, LOST, NIGHT, REFUSED, UNREADABLE
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Float32, String
from std_srvs.srv import SetBool, Trigger

pytestmark = pytest.mark.live
MASK, CONFIDENCE = "segmentation/mask", "segmentation/confidence"
SECOND = 10**9
DEFAULTS = CONFIG / "semla.yaml"


@pytest.fixture(scope="module")
def robot():
    robot = Robot(free_domain())
    yield robot
    robot.close()


@pytest.fixture(scope="module", autouse=True)
def node(robot):
    process = Process(robot.domain, STAND_IN, params_file=DEFAULTS)
    robot.until(lambda: robot.lifecycle() == "active")
    robot.warm_up()
    yield process
    assert process.stop() == 0, process.log


def test_every_frame_of_a_slow_camera_comes_back_under_its_own_header_and_in_its_own_size(robot):
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        sent = [image(SECOND * i + 7 * i, frame_id=f"camera_{i % 2}") for i in range(1, 21)]
        for i, message in enumerate(sent, start=1):
            publish(message)
            robot.until(lambda count=i: len(confidences) == count)
    for heard in (masks, confidences):
        assert [each.header for each in heard] == [each.header for each in sent]
        assert {(each.height, each.width, each.step, each.encoding) for each in heard} == {(48, 64, 64, "mono8")}
    assert bytes(masks[0].data[:4]) == b"\0\1\2\0"
    assert set(confidences[0].data) == {153}  # round(255 * 0.6)


def test_an_overloaded_node_segments_the_newest_frame_and_counts_the_others_as_dropped(robot):
    before = robot.counts()
    left, took = {}, []
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for i in range(1, 61):
            publish(image(SECOND * i, delay=10))  # 0.1 s of work, thirty times a second
            left[i] = time.monotonic()
            time.sleep(1 / 30)
            took += [time.monotonic() - left[mask.header.stamp.sec] for mask in masks[len(took) :]]
        robot.until(lambda: masks[-1].header.stamp.sec == 60)
    after = robot.counts()
    received, segmented, dropped = (after[what] - before[what] for what in ("received", "segmented", "dropped"))
    assert received == 60
    assert segmented + dropped == 60
    assert len(masks) == segmented
    assert 15 <= segmented <= 25
    assert max(took) < 0.3  # two frames' work and a period of looking


def test_services_answer_while_a_frame_computes(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND, delay=100))
        time.sleep(0.1)
        began = time.monotonic()
        assert robot.call(SetBool, "semla/freeze", data=False).success
        assert robot.get("fusion.k") == 0
        assert time.monotonic() - began < 0.5
        assert not masks
        robot.until(lambda: masks)


@pytest.mark.parametrize("reliable", [True, False])
def test_a_camera_of_either_reliability_is_heard(robot, reliable):
    with robot.hears(Image, MASK) as (masks,), robot.camera(reliable=reliable) as publish:
        for i in range(1, 11):
            publish(image(SECOND * i))
            time.sleep(0.03)
        robot.until(lambda: len(masks) == 10)
        assert robot.figures()["image_reliability"] == ("reliable" if reliable else "best_effort")


def test_labels_are_told_to_whoever_comes_late(robot):
    heard = robot.listen(String, "segmentation/labels", transient_local=True)
    robot.until(lambda: heard)
    assert [(each["id"], each["name"]) for each in json.loads(heard[0].data)] == [(0, "road"), (1, "car"), (2, "sky")]
    robot.forget(heard)


def encoded(name):
    message = image(SECOND)
    message.encoding = name
    return message


def truncated():
    message = image(SECOND)
    message.data = array.array("B", bytes(100))
    return message


BAD = {
    "an unknown encoding": (lambda: encoded("plaid8"), ("encoding", "plaid8", "rgb8")),
    "a truncated image": (truncated, ("100", str(48 * 64 * 3))),
    "an empty image": (lambda: Image(encoding="rgb8"), ("0x0",)),
    "a refused image": (lambda: image(SECOND, mood=REFUSED), ("not a image", "uint8 (48, 64)")),
    "an error nobody thought of": (lambda: image(SECOND, mood=BROKEN), ("RuntimeError", "nobody thought of this")),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_frame_is_told_once_and_the_next_one_is_segmented(robot, node, bad):
    make, told = BAD[bad]
    before, lines = robot.counts(), len(node.log.splitlines())
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for _ in range(3):
            publish(make())
            time.sleep(0.1)
        publish(image(2 * SECOND))
        robot.until(lambda: masks)
    report = robot.report()
    values = {each.key: each.value for each in report.values}
    assert [stamp_ns(mask) for mask in masks] == [2 * SECOND]
    new = {name: count - before[name] for name, count in robot.counts(values).items()}
    assert new["failed"] >= 1
    assert new["failed"] + new["dropped"] == 3  # on a busy machine one may give way to the next
    assert report.level == b"\x01"
    assert all(word in values["last_error"] for word in told), values["last_error"]
    assert sum("[ERROR]" in line for line in node.log.splitlines()[lines:]) == 1, node.log


def test_an_adaptation_that_fails_is_told_and_the_frame_is_segmented_all_the_same(robot, node):
    lines = len(node.log.splitlines())
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND, mood=LOST))
        robot.until(lambda: masks)
        report = robot.report()
    assert (report.level, report.message) == (b"\x01", UNREADABLE)
    assert sum("[ERROR]" in line and UNREADABLE in line for line in node.log.splitlines()[lines:]) == 1


def test_the_camera_may_change_its_size_and_encoding(robot):
    sizes = [(64, 48), (96, 54), (64, 48)]
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for i, (width, height) in enumerate(sizes, start=1):
            publish(image(SECOND * i, width=width, height=height))
            time.sleep(0.05)
        grey = Image(height=6, width=8, encoding="mono8", step=8, data=array.array("B", bytes(48)))
        publish(grey)
        robot.until(lambda: len(masks) == 4)
    assert [(mask.width, mask.height) for mask in masks] == [*sizes, (8, 6)]


def test_a_frame_without_stamp_is_tracked_by_the_time_it_came_in_and_published_without_stamp(robot, node):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for i in range(1, 4):
            publish(image(0))
            robot.until(lambda count=i: len(masks) == count)
    assert {stamp_ns(mask) for mask in masks} == {0}
    assert {mask.header.frame_id for mask in masks} == {"camera_front"}
    assert float(robot.state()["ema_distance"]) == pytest.approx(time.time(), rel=1e-3)  # the stamp it was given
    assert node.log.count("carry no stamp") == 1


def test_stamps_that_jump_back_are_published_as_they_come(robot):
    stamps = [100 * SECOND, 101 * SECOND, 5 * SECOND, 6 * SECOND]
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for i, stamp in enumerate(stamps, start=1):
            publish(image(stamp))
            robot.until(lambda count=i: len(masks) == count)
    assert [stamp_ns(mask) for mask in masks] == stamps


def test_a_swap_is_told_at_once_under_the_header_of_its_frame(robot):
    with robot.hears(Float32, "domain/support") as (supports,), robot.camera() as publish:
        publish(image(SECOND))
        robot.until(lambda: supports)
        before = len(robot.states)
        began = time.monotonic()
        publish(image(2 * SECOND, mood=NIGHT))
        robot.until(lambda: "night" in robot.state()["active_adapters"])
        assert time.monotonic() - began < 0.5
        robot.until(lambda: len(supports) == 2)
    adapters = json.loads(robot.state()["active_adapters"])
    assert [(each["name"], each["weight"]) for each in adapters] == [("night", 0.75), ("rain", 0.25)]
    assert stamp_ns(next(each for each in robot.states[before:] if "night" in str(each))) == 2 * SECOND
    assert [each.data for each in supports] == pytest.approx([0.2, 0.23])


def test_the_domain_state_is_repeated_every_second(robot):
    count = len(robot.states)
    time.sleep(2.2)
    assert 2 <= len(robot.states) - count <= 3


def test_the_domain_state_is_told_to_whoever_comes_late(robot):
    heard = robot.listen(type(robot.states[0]), "domain/state", transient_local=True)
    robot.until(lambda: heard, timeout_s=0.8)
    robot.forget(heard)


def test_a_frozen_mixture_is_held_until_it_is_released(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND))
        robot.until(lambda: len(masks) == 1)
        assert "held" in robot.call(SetBool, "semla/freeze", data=True).message
        robot.until(lambda: robot.state()["frozen"] == "true")
        publish(image(2 * SECOND, mood=NIGHT))
        robot.until(lambda: len(masks) == 2)
        assert "day" in robot.state()["active_adapters"]
        robot.call(SetBool, "semla/freeze", data=False)
        publish(image(3 * SECOND, mood=NIGHT))
        robot.until(lambda: "night" in robot.state()["active_adapters"])


def test_a_reset_forgets_the_domain(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND, mood=NIGHT))
        robot.until(lambda: masks)
    assert robot.call(Trigger, "semla/reset").success
    robot.until(lambda: robot.state()["swaps"] == "0" and robot.state()["support"] == "nan")


def test_a_damaged_library_is_refused_with_its_reason_and_the_node_goes_on(robot):
    assert robot.call(Trigger, "semla/reload_library").success
    assert robot.set(segmenter__classes=["unreadable"]).successful
    answer = robot.call(Trigger, "semla/reload_library")
    assert not answer.success
    assert answer.message == "adapter is truncated (adapters/night): got 12 bytes, expected 3 MB"
    assert robot.set(segmenter__classes=[""]).successful
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND))
        robot.until(lambda: masks)


def test_new_classes_are_in_force_at_once_and_told_again(robot):
    labels = robot.listen(String, "segmentation/labels", transient_local=True)
    robot.until(lambda: len(labels) == 1)
    assert robot.set(segmenter__classes=["kerb", "tram"]).successful
    robot.until(lambda: len(labels) == 2)
    assert [each["name"] for each in json.loads(labels[1].data)] == ["kerb", "tram"]
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND))
        robot.until(lambda: masks)
    assert set(masks[0].data) == {0, 1}
    assert robot.set(segmenter__classes=[""]).successful
    robot.forget(labels)


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"fusion__k": -1}, "fusion.k"),
        ({"fusion__k": "five"}, "setting of the wrong type (fusion.k): got 'five', expected int"),
        ({"confidence_encoding": "png"}, "setting not among its choices (confidence_encoding): got 'png'"),
        ({"segmenter__classes": ["nothing"]}, "no such class (segmenter.classes): got nothing, expected something"),
        ({"segmenter__classes": ["crash"]}, "RuntimeError: nobody thought of this"),
        ({"model__bundle": "other"}, "read-only"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_reason_and_changes_nothing(robot, wrong, why):
    result = robot.set(fusion__temperature=0.5, **wrong)
    assert not result.successful
    assert why in result.reason
    assert robot.get("fusion.temperature") == 0.0


def test_output_settings_are_in_force_with_the_next_frame(robot):
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        assert robot.set(output_width=32, confidence_encoding="32FC1").successful
        publish(image(SECOND))
        robot.until(lambda: confidences)
        assert robot.set(output_width=0, confidence_encoding="mono8").successful
    assert [(mask.width, mask.height) for mask in masks] == [(32, 24)]
    assert confidences[0].encoding == "32FC1"
    np.testing.assert_allclose(np.frombuffer(confidences[0].data, np.float32), 0.6)


def test_images_for_people_are_made_only_while_somebody_looks(robot):
    with robot.camera() as publish, robot.hears(Image, MASK) as (masks,):
        with robot.hears(Image, "segmentation/overlay", "segmentation/color") as (overlays, colors):
            publish(image(SECOND))
            robot.until(lambda: overlays and colors)
        robot.until(lambda: masks)
        publish(image(2 * SECOND))
        robot.until(lambda: len(masks) == 2)
        with robot.hears(Image, "segmentation/overlay") as (later,):
            publish(image(3 * SECOND))
            robot.until(lambda: later)
    assert [stamp_ns(each) for each in (*overlays, *colors, *later)] == [SECOND, SECOND, 3 * SECOND]
    assert overlays[0].encoding == colors[0].encoding == "rgb8"
    assert bytes(colors[0].data[:3]) == bytes((128, 64, 128))  # road


def test_compressed_images_are_segmented_too(robot):
    assert robot.set(image_transport="compressed").successful
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    message = CompressedImage(header=image(5 * SECOND).header, format="rgb8; jpeg compressed bgr8", data=jpeg)
    with robot.hears(Image, MASK) as (masks,), robot.camera(topic="image/compressed", kind=CompressedImage) as publish:
        publish(message)
        robot.until(lambda: masks)
    assert (masks[0].header, masks[0].width, masks[0].height) == (message.header, 60, 40)
    assert robot.set(image_transport="raw").successful


def test_silence_is_explained_by_what_is_waited_for_and_what_is_offered(robot, node):
    assert robot.set(silence_s=1.0).successful
    robot.until(lambda: "no image on /image (reliable): nobody publishes it" in node.log)
    assert robot.set(image_reliability="reliable").successful
    with robot.offers(reliable=False):
        robot.until(
            lambda: "no image on /image (reliable): offered are sensor_msgs/msg/Image, best_effort by robot" in node.log
        )
        report = robot.report()
    conflict = next(each.value for each in report.values if each.key == "incompatible_qos")
    assert conflict.startswith("/image from robot to semla:")
    assert "reliable" in conflict.lower()
    assert robot.set(image_reliability="auto", silence_s=5.0).successful


def test_diagnostics_tell_rate_latency_device_and_memory(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        for i in range(1, 11):
            publish(image(time.time_ns(), delay=2))
            robot.until(lambda count=i: len(masks) == count)
        report = robot.report()
    values = {each.key: each.value for each in report.values}
    assert (report.name, report.level, values["state"]) == ("semla: segmentation", b"\x00", "active")
    assert float(values["fps"]) > 1.0
    assert float(values["latency_segment_ms_p95"]) <= float(values["latency_total_ms_p95"])
    assert 20.0 <= float(values["latency_total_ms_p95"]) < 200.0
    assert float(values["age_ms_p95"]) >= 20.0
    assert float(values["memory_mb"]) > 400.0
    assert values["device"] == "cpu"
    assert values["incompatible_qos"] == ""


def test_lifecycle_deactivate_silences_cleanup_frees_and_both_can_be_undone(robot):
    occupied = float(robot.figures()["memory_mb"])
    with robot.hears(Image, MASK) as (masks,):
        with robot.camera() as publish:
            assert robot.change("deactivate")
            publish(image(SECOND))
            time.sleep(0.3)
            assert not masks
        assert robot.figures()["state"] == "inactive"
        assert robot.change("cleanup")
        freed = robot.figures()
        assert freed["state"] == "unconfigured"
        assert occupied - float(freed["memory_mb"]) > 300.0
        assert not robot.call(Trigger, "semla/reset").success
        assert robot.set(fusion__k=3).successful
        assert robot.change("configure")
        assert robot.change("activate")
        with robot.camera() as publish:
            publish(image(2 * SECOND))
            robot.until(lambda: masks)
    assert [stamp_ns(mask) for mask in masks] == [2 * SECOND]
    assert robot.get("fusion.k") == 3
