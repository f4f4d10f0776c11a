"""The node as a user starts it, with the bundled models."""

import json
import math
import shutil
import time
from itertools import count

import numpy as np
import pytest
from paths import DATA

pytest.importorskip("rclpy")

from live.process import Process, free_domain
from live.robot import CONFIDENCE, MASK, Robot, stamp_ns
from sensor_msgs.msg import Image
from std_msgs.msg import Header, String
from std_srvs.srv import Trigger

from semla_ros.errors import BundleError
from semla_ros.library.bundle import ADAPTERS, Bundle, find_bundle
from semla_ros.library.manifest import write_manifest
from semla_ros.node import message_factory
from semla_ros.recordings import open_recording
from semla_ros.streetworld.dataset import sample
from semla_ros.topics import messages

pytestmark = pytest.mark.live
NODE = ("-m", "semla_ros.node.main")
HIGHWAY = DATA / "udacity_highway.mp4"
TENTH = 10**8


@pytest.fixture(scope="module")
def bundle():
    try:
        return Bundle.open(find_bundle("streetworld"))
    except BundleError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def robot(bundle):
    with Robot() as robot:
        process = robot.start(*NODE, parameters={"model.device": "cpu"})
        robot.until_active()
        yield robot
        assert process.stop() == 0, process.log
        assert "ERROR" not in process.log, process.log


def message(rgb, stamp, frame_id="camera_front"):
    header = Header(frame_id=frame_id)
    header.stamp.sec, header.stamp.nanosec = divmod(stamp, 10**9)
    return messages.image(header, rgb, message_factory.new)


def publish_and_wait(robot, publish, masks, message):
    publish(message)
    stamp = stamp_ns(message)
    robot.until(lambda: masks and stamp_ns(masks[-1]) == stamp, f"the mask of the image of {message.header.stamp}")


def drive(robot, publish, masks, domain, stamps, swaps):
    """Publishes images of a domain, each when the mask of the one before has arrived, until there were so many swaps.

    How many images that takes depends on how often the navigator embeds one while frames are segmented.

    Returns:
        The domain state then.
    """
    first = next(stamps)

    def swapped():
        stamp = next(stamps)
        publish_and_wait(robot, publish, masks, message(sample(domain, stamp // TENTH % 4, seed=7).rgb, stamp))
        return stamp_ns(robot.states[-1]) > first and int(robot.state()["swaps"]) >= swaps

    robot.until(swapped, f"swap {swaps}, in {domain}")
    return robot.state()


def test_a_missing_bundle_ends_the_node_with_one_clear_message():
    with Process(free_domain(), *NODE, parameters={"model.bundle": "atlantis"}) as process:
        assert process.wait() == 1
        assert sum("[FATAL]" in line and "atlantis" in line for line in process.log.splitlines()) == 1
        assert "Traceback" not in process.log


def test_python_warnings_of_the_package_are_in_the_ros_log():
    with Robot() as robot:
        process = robot.start(*NODE, parameters={"model.device": "auto"})
        robot.until_active()
        lines = [line for line in process.log.splitlines() if "no CUDA device" in line]
        assert not lines or lines[0].startswith("[WARN] ["), lines  # with a GPU there is no such line
        assert process.stop() == 0


def test_ten_frames_per_second_are_segmented_or_counted_as_dropped(robot):
    before = robot.counts()
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        sent = [message(sample("clear_day", i % 4, seed=7).rgb, 10**9 + i * TENTH) for i in range(30)]
        for each in sent:
            publish(each)
            time.sleep(0.1)
        last = stamp_ns(sent[-1])
        answered = lambda: all(heard and stamp_ns(heard[-1]) == last for heard in (masks, confidences))  # noqa: E731
        robot.until(answered, "mask and confidence of the last image")
        after = robot.counts()
    changes = {name: count - before[name] for name, count in after.items()}
    assert changes["received"] == changes["segmented"] + changes["dropped"] <= len(sent)
    assert changes["failed"] == 0
    assert len(masks) == len(confidences) == changes["segmented"]
    headers = [each.header for each in sent]
    assert all(mask.header in headers for mask in masks)
    assert {(mask.width, mask.height, mask.encoding) for mask in masks} == {(384, 240, "mono8")}


def test_every_pixel_is_one_of_the_bundles_classes(robot, bundle):
    labels = robot.listen(String, "segmentation/labels", transient_local=True)
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, message(sample("clear_day", 0, seed=7).rgb, TENTH))
        robot.until(lambda: labels, "the labels")
    classes = json.loads(labels[-1].data)
    assert [each["name"] for each in classes] == list(bundle.classes)
    assert set(masks[0].data) <= {each["id"] for each in classes}


def test_night_after_day_activates_other_adapters(robot):
    robot.call(Trigger, "semla/reset")
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        stamps = count(20_000 * TENTH, 5 * TENTH)  # later than those of earlier tests, whose states are known by that
        day = drive(robot, publish, masks, "clear_day", stamps, swaps=1)
        for _ in range(4):
            publish_and_wait(robot, publish, masks, message(sample("clear_day", 0, seed=7).rgb, next(stamps)))
        assert robot.state()["swaps"] == "1"
        night = drive(robot, publish, masks, "clear_night", stamps, swaps=2)
    assert weights(day) != weights(night)
    assert math.fsum(weights(night).values()) == pytest.approx(1.0, abs=1e-4)


def weights(state):
    return {each["name"]: each["weight"] for each in json.loads(state["active_adapters"])}


def test_frames_are_segmented_while_a_large_library_is_read(bundle, tmp_path):
    path = shutil.copytree(bundle.path, tmp_path / "large")
    with Robot() as robot:
        process = robot.start(*NODE, parameters={"model.device": "cpu", "model.bundle": str(path)})
        robot.until_active()
        assert robot.call(Trigger, "semla/reload_library").message.endswith("13 adapters in use")
        copy_adapters(path / ADAPTERS, 200)
        answer, frames = robot.ask(Trigger, "semla/reload_library"), 0
        with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
            while not answer.done():
                publish_and_wait(robot, publish, masks, message(sample("clear_day", frames % 4, seed=7).rgb, TENTH))
                masks.clear()
                frames += 1
        assert answer.result().message.endswith("200 adapters in use")
        assert frames > 5, f"{frames} frames between the request and its answer"
        assert robot.counts()["failed"] == 0
        assert process.stop() == 0, process.log


def copy_adapters(folder, count):
    """Copies the adapters of a library under other names until there are so many."""
    present = sorted(folder.iterdir())
    for index in range(count - len(present)):
        source = present[index % len(present)]
        target = shutil.copytree(source, folder / f"{source.name}_{index}")
        (target / f"{source.name}_statistics.npz").rename(target / f"{target.name}_statistics.npz")
        write_manifest(target)


def test_new_classes_are_segmented_at_once(robot):
    assert robot.set(segmenter__classes=["road", "sky"]).successful
    with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
        publish_and_wait(robot, publish, masks, message(sample("clear_day", 0, seed=7).rgb, TENTH))
    assert set(masks[0].data) <= {0, 1}
    assert robot.set(segmenter__classes=[""]).successful


def test_masks_of_a_real_recording_have_its_size_and_stamps(robot):
    frames = [frame for frame, _ in zip(open_recording(HIGHWAY).frames(), range(10), strict=False)]
    robot.call(Trigger, "semla/reset")
    with robot.hears(Image, MASK, CONFIDENCE) as (masks, confidences), robot.camera() as publish:
        for i, frame in enumerate(frames, start=1):
            publish(message(frame.rgb, frame.stamp_ns, "windscreen"))
            robot.until(lambda count=i: len(confidences) == len(masks) == count, f"mask and confidence of frame {i}")
    expected = [frame.stamp_ns for frame in frames]
    assert [stamp_ns(mask) for mask in masks] == expected
    assert {(mask.width, mask.height, mask.header.frame_id) for mask in masks} == {(960, 540, "windscreen")}
    assert np.ptp(np.frombuffer(confidences[0].data, np.uint8)) > 0


def test_a_record_of_gaps_whose_disk_vanishes_is_reported_and_frames_go_on(bundle, tmp_path):
    gaps = tmp_path / "gaps"
    settings = {"gaps.folder": str(gaps), "library.exclude": ["forest"], "navigator.period_s": 0.0}
    with Robot() as robot:
        process = robot.start(*NODE, parameters={"model.device": "cpu", **settings})
        robot.until_active()
        with robot.hears(Image, MASK) as (masks,), robot.camera() as publish:
            stamps = iter(range(10 * TENTH, 10_000 * TENTH, TENTH))

            def told(name):
                publish_and_wait(robot, publish, masks, message(sample("forest", 0, seed=7).rgb, next(stamps)))
                return robot.figures()[name]

            robot.until(lambda: int(told("gap_groups")) > 0, "the first gap")
            assert (gaps / "images").is_dir()
            gaps.rename(tmp_path / "elsewhere")  # at once, for the node may be writing
            robot.until(lambda: "No such file" in told("gap_problem"), "the report of the folder that vanished")
            publish_and_wait(robot, publish, masks, message(sample("clear_day", 0, seed=7).rgb, next(stamps)))
        assert robot.counts()["failed"] == 0
        assert process.stop() == 0, process.log
    assert process.log.count("Segmentation goes on") == 1, process.log
