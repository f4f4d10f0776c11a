"""The running node, over real DDS, around a pipeline whose timing and errors the tests decide."""

import array
import json
import time

import cv2
import numpy as np
import pytest
from paths import CONFIG

pytest.importorskip("rclpy")

from live.gate import VARIABLE, Gate
from live.process import STAND_IN
from live.robot import CONFIDENCE, MASK, SUPPORT, Robot, image, stamp_ns, values
from live.stand_in import ADAPTATION_FAILS, BROKEN, MEMORY, NIGHT, REFUSED, SAVE_MEMORY, UNREADABLE, WAIT
from rclpy.qos import DurabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import Float32, String
from std_srvs.srv import SetBool, Trigger

pytestmark = pytest.mark.live
SECOND = 10**9
DEFAULTS = CONFIG / "semla.yaml"
WARN, ERROR = b"\x01", b"\x02"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def robot(folder):
    with Robot() as robot:
        process = robot.start(STAND_IN, params_file=DEFAULTS, **{VARIABLE: str(folder)})
        robot.until_active()
        yield robot
        assert process.stop() == 0, process.log


@pytest.fixture
def gate(folder):
    with Gate(folder).closed() as gate:
        yield gate


@pytest.fixture
def node(robot):
    return robot.processes[0]


def publish_and_wait(robot, publish, masks, *messages):
    """Publishes images one after the other, each when the mask of the one before has arrived."""
    for message in messages:
        count = len(masks)
        publish(message)
        robot.until(lambda count=count: len(masks) > count, f"the mask of the image of {message.header.stamp}")


def until_reported(robot, *words, before_each=lambda: None):
    """Waits for a warning of the diagnostics with these words in its message; returns the report."""

    def reported():
        before_each()
        report = robot.report()
        return report if report.level == WARN and all(word in report.message for word in words) else None

    return robot.until(reported, f"a warning with {words} in the diagnostics")


def test_every_frame_of_a_slow_camera_comes_back_under_its_own_header_and_in_its_own_size(robot):
    sent = [image(SECOND * i + 7 * i, frame_id=f"camera_{i % 2}") for i in range(1, 21)]
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        publish_and_wait(robot, publish, confidences, *sent)
        robot.until(lambda: len(masks) == len(sent), "all masks")
    for heard in (masks, confidences):
        assert [each.header for each in heard] == [each.header for each in sent]
        assert {(each.height, each.width, each.step, each.encoding) for each in heard} == {(48, 64, 64, "mono8")}
    assert bytes(masks[0].data[:4]) == b"\0\1\2\0"
    assert set(confidences[0].data) == {153}  # round(255 * 0.6)


def test_of_the_frames_that_arrive_while_one_is_computed_the_newest_is_segmented_and_the_others_are_dropped(
    robot, gate
):
    before = robot.counts()
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND, command=WAIT))
        robot.until(gate.entered, "the first frame to be taken")
        for i in range(2, 7):
            publish(image(SECOND * i))
        received = before["received"] + 6
        robot.until(lambda: int(robot.figures()["frames_received"]) == received, "all images to be received")
        gate.open()
        robot.until(lambda: len(masks) == 2, "two masks")
        after = robot.counts(received)
    assert [stamp_ns(mask) for mask in masks] == [SECOND, 6 * SECOND]
    changes = {name: count - before[name] for name, count in after.items()}
    assert changes == {"received": 6, "segmented": 2, "dropped": 4, "failed": 0}


def test_services_answer_while_a_frame_is_computed(robot, gate):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish(image(SECOND, command=WAIT))
        robot.until(gate.entered, "the frame to be taken")
        assert robot.call(SetBool, "semla/freeze", data=False).success
        assert robot.get("fusion.k") == 0
        assert not masks
        gate.open()
        robot.until(lambda: masks, "the mask")


@pytest.mark.parametrize("reliable", [True, False])
def test_images_of_a_camera_of_either_reliability_are_received(robot, reliable):
    with robot.hears(Image, MASK) as (masks,), robot.camera(reliable=reliable) as publish:

        def arrived():
            publish(image(SECOND))
            time.sleep(0.05)
            return masks

        robot.until(arrived, "a mask")
        assert robot.figures()["image_reliability"] == ("reliable" if reliable else "best_effort")
        robot.settle(publish)


def test_late_subscribers_receive_the_labels(robot):
    heard = robot.listen(String, "segmentation/labels", transient_local=True)
    robot.until(lambda: heard, "the labels")
    assert [(each["id"], each["name"]) for each in json.loads(heard[0].data)] == [(0, "road"), (1, "car"), (2, "sky")]


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
    "an encoding of a megabyte": (lambda: encoded("plaid" * 200_000), ("encoding", "plaid", "characters")),
    "a truncated image": (truncated, ("100", str(48 * 64 * 3))),
    "an empty image": (lambda: Image(encoding="rgb8"), ("0x0",)),
    "an image that the pipeline refuses": (lambda: image(SECOND, command=REFUSED), ("not an image", "uint8 (48, 64)")),
    "an unexpected error": (lambda: image(SECOND, command=BROKEN), ("RuntimeError", "unexpected")),
}


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_frame_is_logged_and_reported_and_the_next_one_is_segmented(robot, node, bad):
    make, words = BAD[bad]
    before, log = robot.counts(), len(node.log)
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        report = until_reported(robot, *words, before_each=lambda: publish(make()))
        publish_and_wait(robot, publish, masks, image(2 * SECOND))
    after = robot.counts(before["received"] + 2)
    assert after["failed"] > before["failed"]
    assert after["segmented"] - before["segmented"] == 1
    assert "image of /image lost: " in node.log[log:]
    assert len(node.log) - log < 5000
    assert len(report.message) < 1000


def test_a_lost_compressed_image_is_reported_under_the_name_of_its_own_topic(robot, node):
    assert robot.set(image_transport="compressed").successful
    with robot.camera(topic="image/compressed", kind=CompressedImage) as publish:
        publish(CompressedImage(format="jpeg", data=b"no jpeg"))
        robot.until(lambda: "image of /image/compressed lost: " in node.log, "the error in the log")
    assert robot.set(image_transport="raw").successful


def test_a_failed_adaptation_is_reported_and_the_frame_is_segmented_all_the_same(robot, node):
    log = len(node.log)
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND, command=ADAPTATION_FAILS))
        report = until_reported(robot, UNREADABLE)
    assert report.message == UNREADABLE
    robot.until(lambda: f"adaptation failed: {UNREADABLE}" in node.log[log:], "the error in the log")


def test_a_measure_that_saves_memory_is_a_warning_until_a_reset(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND, command=SAVE_MEMORY))
    until_reported(robot, MEMORY)
    assert robot.call(Trigger, "semla/reset").success
    robot.until(lambda: MEMORY not in robot.report().message, "a report without the warning")


def test_the_camera_may_change_its_size_and_encoding(robot):
    sizes = [(64, 48), (96, 54), (64, 48)]
    frames = [image(SECOND * i, width=width, height=height) for i, (width, height) in enumerate(sizes, start=1)]
    grey = Image(height=6, width=8, encoding="mono8", step=8, data=array.array("B", bytes(48)))
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, *frames, grey)
    assert [(mask.width, mask.height) for mask in masks] == [*sizes, (8, 6)]


def test_a_frame_without_stamp_is_tracked_by_its_time_of_arrival_and_published_without_stamp(robot, node):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(time.time_ns()))
        robot.counts()
        assert "age_ms_median" in robot.figures()
        publish_and_wait(robot, publish, masks, image(0), image(0), image(0))
        robot.counts()
    assert [stamp_ns(mask) for mask in masks[1:]] == [0, 0, 0]
    assert {mask.header.frame_id for mask in masks} == {"front"}
    assert float(robot.state()["ema_distance"]) == pytest.approx(time.time(), rel=1e-3)  # the stamp it was given
    assert node.log.count("carry no stamp") == 1
    assert not [name for name in robot.figures() if name.startswith("age_ms")]


def test_stamps_that_jump_back_are_published_unchanged(robot):
    stamps = [100 * SECOND, 101 * SECOND, 5 * SECOND, 6 * SECOND]
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, *map(image, stamps))
    assert [stamp_ns(mask) for mask in masks] == stamps


def test_a_swap_is_published_under_the_header_of_its_frame(robot):
    with robot.hears(Float32, SUPPORT) as (supports,), robot.camera() as publish:
        publish(image(51 * SECOND))  # a state with this stamp comes from no other test
        robot.until(lambda: supports and stamp_ns(robot.states[-1]) == 51 * SECOND, "a support score and its state")
        before = len(robot.states)
        publish(image(52 * SECOND, command=NIGHT))
        robot.until(lambda: "night" in robot.state()["active_adapters"], "the swap")
        robot.until(lambda: supports[-1].data > 0.21, "the second support score")
    adapters = json.loads(robot.state()["active_adapters"])
    assert [(each["name"], each["weight"]) for each in adapters] == [("night", 0.75), ("rain", 0.25)]
    assert stamp_ns(next(each for each in robot.states[before:] if "night" in str(each))) == 52 * SECOND
    assert [each.data for each in supports[-2:]] == pytest.approx([0.2, 0.23])


def test_the_domain_state_is_repeated(robot):
    count, state = len(robot.states), robot.state()
    robot.until(lambda: len(robot.states) >= count + 2, "the domain state, twice")
    assert robot.state() == state


def test_late_subscribers_receive_the_domain_state(robot):
    heard = robot.listen(type(robot.states[0]), "domain/state", transient_local=True)
    robot.until(lambda: heard, "the domain state")
    offers = robot.node.get_publishers_info_by_topic("/domain/state")
    assert [each.qos_profile.durability for each in offers] == [DurabilityPolicy.TRANSIENT_LOCAL]


def test_a_frozen_mixture_is_held_until_it_is_released(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND))
        assert "held" in robot.call(SetBool, "semla/freeze", data=True).message
        robot.until(lambda: robot.state()["frozen"] == "true", "the frozen state")
        publish_and_wait(robot, publish, masks, image(2 * SECOND, command=NIGHT))
        assert "day" in robot.state()["active_adapters"]
        robot.call(SetBool, "semla/freeze", data=False)
        publish_and_wait(robot, publish, masks, image(3 * SECOND, command=NIGHT))
        robot.until(lambda: "night" in robot.state()["active_adapters"], "the swap")


def test_a_reset_forgets_the_domain(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND, command=NIGHT))
    assert robot.call(Trigger, "semla/reset").success
    robot.until(lambda: robot.state()["swaps"] == "0" and robot.state()["support"] == "nan", "the first state again")


def test_a_damaged_library_is_refused_with_its_reason_and_the_node_goes_on(robot):
    assert robot.call(Trigger, "semla/reload_library").success
    assert robot.set(segmenter__classes=["unreadable"]).successful
    answer = robot.call(Trigger, "semla/reload_library")
    assert not answer.success
    refusal = "adapter is truncated (adapters/night): got 12 bytes, expected 3 MB"
    assert answer.message == f"{refusal}. The previous library stays in use."
    assert robot.set(segmenter__classes=[""]).successful
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND))


def test_a_reload_is_answered_with_the_adapters_in_use_and_those_left_out(robot):
    answer = robot.call(Trigger, "semla/reload_library")
    assert answer.success
    assert answer.message == (
        "the library was read again: 2 adapters in use, left out: adapter is truncated (adapters/rain)"
    )


def test_frames_services_and_diagnostics_go_on_while_a_library_is_read(robot, gate):
    assert robot.call(Trigger, "semla/reload_library").success
    assert robot.set(segmenter__classes=["large library"]).successful
    answer = robot.ask(Trigger, "semla/reload_library")
    robot.until(gate.entered, "the library to be read")
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, *(image(SECOND * i) for i in range(1, 6)))
    assert robot.call(SetBool, "semla/freeze", data=False).success
    assert robot.report().level != ERROR
    assert not answer.done()
    gate.open()
    robot.until(answer.done, "the answer of the reload")
    assert answer.result().success
    assert robot.set(segmenter__classes=[""]).successful


def test_two_reloads_at_once_are_answered_one_after_the_other(robot, gate):
    assert robot.call(Trigger, "semla/reload_library").success
    assert robot.set(segmenter__classes=["large library"]).successful
    answers = [robot.ask(Trigger, "semla/reload_library") for _ in range(2)]
    robot.until(gate.entered, "the library to be read")
    assert not any(answer.done() for answer in answers)
    gate.open()
    robot.until(lambda: all(answer.done() for answer in answers), "both answers")
    assert all(answer.result().success for answer in answers)
    assert robot.set(segmenter__classes=[""]).successful


def test_a_node_that_frees_its_models_gives_up_reading_a_library(robot, gate):
    assert robot.call(Trigger, "semla/reload_library").success
    assert robot.set(segmenter__classes=["large library"]).successful
    answer = robot.ask(Trigger, "semla/reload_library")
    robot.until(gate.entered, "the library to be read")
    assert robot.change("deactivate")
    assert robot.change("cleanup")
    robot.until(answer.done, "the answer of the reload")
    assert not answer.result().success
    assert robot.change("configure")
    assert robot.change("activate")
    assert robot.set(segmenter__classes=[""]).successful
    robot.until_active()


def test_new_classes_are_in_force_at_once_and_published_again(robot):
    labels = robot.listen(String, "segmentation/labels", transient_local=True)
    robot.until(lambda: len(labels) == 1, "the labels")
    assert robot.set(segmenter__classes=["kerb", "tram"]).successful
    robot.until(lambda: len(labels) == 2, "the new labels")
    assert [each["name"] for each in json.loads(labels[1].data)] == ["kerb", "tram"]
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND))
    assert set(masks[0].data) == {0, 1}
    assert robot.set(segmenter__classes=[""]).successful


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"fusion__k": -1}, "fusion.k"),
        ({"fusion__k": "five"}, "setting of the wrong type (fusion.k): got 'five', expected int"),
        ({"confidence_encoding": "png"}, "setting not among its choices (confidence_encoding): got 'png'"),
        ({"segmenter__classes": ["nothing"]}, "no such class (segmenter.classes): got nothing, expected something"),
        ({"model__bundle": "other"}, "read-only"),
    ],
)
def test_a_wrong_parameter_is_refused_with_the_reason_and_changes_nothing(robot, wrong, why):
    result = robot.set(fusion__temperature=0.5, **wrong)
    assert not result.successful
    assert why in result.reason
    assert robot.get("fusion.temperature") == 0.0


def test_parameters_that_turn_out_not_to_work_are_reported_and_go_back_to_what_is_in_force(robot, node):
    robot.set(fusion__temperature=0.5, segmenter__classes=["crash"])
    robot.until(lambda: "RuntimeError: unexpected" in node.log, "the error in the log")
    until_reported(robot, "RuntimeError: unexpected")
    assert (robot.get("fusion.temperature"), robot.get("segmenter.classes")) == (0.0, [""])
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, image(SECOND))


def test_output_settings_are_in_force_with_the_next_frame(robot):
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        assert robot.set(output_width=32, confidence_encoding="32FC1").successful
        publish(image(SECOND))
        robot.until(lambda: confidences and confidences[-1].encoding == "32FC1", "the confidence as 32FC1")
        robot.until(lambda: masks and (masks[-1].width, masks[-1].height) == (32, 24), "the mask of 32x24")
        assert robot.set(output_width=0, confidence_encoding="mono8").successful
    np.testing.assert_allclose(np.frombuffer(confidences[-1].data, np.float32), 0.6)


def test_color_and_overlay_are_published_to_their_subscribers(robot):
    with robot.camera() as publish:
        with robot.hears(Image, "segmentation/overlay", "segmentation/color") as (overlays, colors):

            def arrived():
                publish(image(SECOND))
                time.sleep(0.05)
                return overlays and colors

            robot.until(arrived, "an overlay and a colour image")
        robot.settle(publish)
    assert {stamp_ns(each) for each in (*overlays, *colors)} == {SECOND}
    assert overlays[0].encoding == colors[0].encoding == "rgb8"
    assert bytes(colors[0].data[:3]) == bytes((128, 64, 128))  # road


def test_compressed_images_are_segmented_too(robot):
    assert robot.set(image_transport="compressed").successful
    jpeg = cv2.imencode(".jpg", np.zeros((40, 60, 3), np.uint8))[1].tobytes()
    message = CompressedImage(header=image(5 * SECOND).header, format="rgb8; jpeg compressed bgr8", data=jpeg)
    with robot.hears(Image, MASK) as (masks,), robot.camera(topic="image/compressed", kind=CompressedImage) as publish:
        publish_and_wait(robot, publish, masks, message)
    assert (masks[0].header, masks[0].width, masks[0].height) == (message.header, 60, 40)
    assert robot.set(image_transport="raw").successful


def test_silence_is_explained_by_the_topic_and_by_what_its_publishers_offer(robot, node):
    assert robot.set(silence_s=1.0).successful
    robot.until(lambda: "no image on /image (reliable): it has no publisher" in node.log, "the first warning")
    assert robot.set(image_reliability="reliable").successful
    offered = "no image on /image (reliable): offered are sensor_msgs/msg/Image, best_effort by robot"
    with robot.offers(reliable=False):
        robot.until(lambda: offered in node.log, "the second warning")
        conflict = robot.until(lambda: robot.figures()["incompatible_qos"], "the conflict in the diagnostics")
    assert conflict.startswith("/image from robot to semla:")
    assert "reliable" in conflict.lower()
    with robot.offers():
        silent = "no image on /image (reliable): its publisher sends none (robot)"
        robot.until(lambda: silent in node.log, "the third warning")
    assert robot.set(image_reliability="auto", silence_s=5.0).successful


def test_intrinsics_of_the_camera_are_published_for_the_mask(robot):
    info = CameraInfo(width=64, height=48, distortion_model="plumb_bob")
    info.k = [50.0, 0.0, 32.0, 0.0, 50.0, 24.0, 0.0, 0.0, 1.0]
    assert robot.set(output_width=32).successful
    with (
        robot.hears(CameraInfo, "segmentation/camera_info") as (infos,),
        robot.camera() as publish,
        robot.offers(topic="camera_info", kind=CameraInfo) as intrinsics,
    ):

        def published():
            intrinsics.publish(info)
            publish(image(23 * SECOND))
            time.sleep(0.1)
            return infos

        robot.until(published, "intrinsics of the mask")
        robot.settle(publish)
    assert robot.set(output_width=0).successful
    assert (infos[0].width, infos[0].height, list(infos[0].k[:3])) == (32, 24, [25.0, 0.0, 16.0])
    assert stamp_ns(infos[0]) == 23 * SECOND
    assert infos[0].header.frame_id == "front"


def test_diagnostics_report_rate_latency_device_and_memory(robot):
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:

        def fine():  # warnings of earlier tests last five seconds; so long without an image brings one more
            publish_and_wait(robot, publish, masks, *(image(time.time_ns(), delay=2) for _ in range(10)))
            report = robot.report()
            return report if report.level == b"\x00" else None

        report = robot.until(fine, "level OK")
        robot.counts()
    figures = values(report)
    assert (report.name, figures["state"]) == ("/semla: segmentation", "active")
    assert float(figures["fps"]) >= 0.0
    assert float(figures["latency_segment_ms_p95"]) <= float(figures["latency_total_ms_p95"])
    assert float(figures["latency_total_ms_p95"]) >= 20.0
    assert float(figures["age_ms_p95"]) >= 20.0
    assert float(figures["memory_mb"]) > 400.0
    assert figures["device"] == "cpu"
    assert figures["incompatible_qos"] == ""


def test_deactivate_stops_publishing_cleanup_frees_the_models_and_both_can_be_undone(robot):
    occupied = float(robot.figures()["memory_mb"])
    with robot.hears(Image, MASK) as (masks,):
        with robot.offers() as publisher:
            robot.until(publisher.get_subscription_count, "the node to subscribe")
            assert robot.change("deactivate")
            publisher.publish(image(SECOND))
            assert robot.figures()["state"] == "inactive"
        assert not masks
        assert robot.change("cleanup")
        freed = robot.figures()
        assert freed["state"] == "unconfigured"
        assert occupied - float(freed["memory_mb"]) > 300.0
        assert not robot.call(Trigger, "semla/reset").success
        assert robot.set(fusion__k=3).successful
        assert robot.change("configure")
        assert robot.change("activate")
        with robot.camera() as publish:
            publish_and_wait(robot, publish, masks, image(2 * SECOND))
    assert [stamp_ns(mask) for mask in masks] == [2 * SECOND]
    assert robot.get("fusion.k") == 3
    assert robot.set(fusion__k=0).successful
