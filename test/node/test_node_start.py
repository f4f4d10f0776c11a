"""How the node starts and ends: processes, command lines, exit codes."""

import os
import random
import re
import signal
import time
from pathlib import Path

import pytest
from paths import CONFIG, LIVE

pytest.importorskip("rclpy")

from listening import descendants
from live.gate import VARIABLE, Gate
from live.process import STAND_IN, Process, free_domain, release
from live.robot import MASK, Robot, image, values
from live.stand_in import WAIT
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

pytestmark = pytest.mark.live
SECOND = 10**9
LARGE_IMAGES = CONFIG / "fastdds_large_images.xml"
NODE = ("-m", "semla_ros.node.main")
TRIES = int(os.environ.get("SEMLA_SIGNAL_TRIES", "5"))  # 100 tries take a quarter of an hour
BOTH = pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])


@pytest.fixture
def robot():
    with Robot() as robot:
        yield robot


def ended(*command, **options):
    """Exit code and log of a node that does not come up."""
    domain = free_domain()
    with Process(domain, *command or (STAND_IN,), **options) as process:
        code = process.wait()
    release(domain)
    return code, process.log


def segments(process):
    """Files of Fast DDS's shared memory that a process has mapped."""
    maps = Path(f"/proc/{process}/maps").read_text()
    return {Path(f"/dev/shm/{name}") for name in re.findall(r"/dev/shm/(fastdds_[0-9a-f]{16})\b", maps)}


def assert_ends_cleanly(process, how):
    assert process.stop(how) == 0, process.log
    assert "Traceback" not in process.log, process.log
    assert "ERROR" not in process.log, process.log


@BOTH
def test_a_signal_ends_a_busy_node_cleanly(robot, how):
    process = robot.start(STAND_IN)
    with robot.camera() as publish:
        for i in range(1, 30):
            publish(image(SECOND * i, width=640, height=480, delay=1))
            time.sleep(0.005)
        assert_ends_cleanly(process, how)


@BOTH
def test_a_signal_while_the_models_load_ends_the_node_cleanly(robot, how):
    process = robot.start(STAND_IN, parameters={"model.bundle": "slow"})
    robot.until(lambda: robot.node.count_publishers("/diagnostics"), "the node")
    assert_ends_cleanly(process, how)  # although the models would load for hours


@BOTH
@pytest.mark.parametrize("delay_s", [0.0, 0.1, 0.3, 1.0])
def test_a_signal_during_the_imports_ends_the_node_cleanly(how, delay_s):
    with Robot() as robot:
        process = robot.start(*NODE)
        robot.until(process.handles_signals, "the handlers of signals")
        time.sleep(delay_s)
        assert_ends_cleanly(process, how)


def test_a_signal_ends_a_node_whose_frame_is_never_done(robot, tmp_path):
    with Gate(tmp_path).closed() as gate:
        process = robot.start(STAND_IN, **{VARIABLE: str(tmp_path)})
        with robot.camera() as publish:
            publish(image(SECOND, command=WAIT))
            robot.until(gate.entered, "the frame to be taken")
            assert_ends_cleanly(process, signal.SIGINT)


def test_signals_that_the_parent_process_ignored_end_the_node(robot):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control does for `command &`
    try:
        process = robot.start(STAND_IN)
    finally:
        signal.signal(signal.SIGINT, before)
    robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
    assert_ends_cleanly(process, signal.SIGINT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(TRIES))
def test_a_signal_at_a_random_moment_ends_the_node_cleanly(seed):
    draw = random.Random(seed)
    with Robot() as robot:
        process = robot.start(*NODE)
        robot.until(process.handles_signals, "the handlers of signals")
        end = time.monotonic() + draw.uniform(0.0, 10.0)  # start-up takes half of that or more
        with robot.offers(topic="image") as camera:
            while time.monotonic() < end:
                camera.publish(image(time.time_ns(), width=384, height=240))
                time.sleep(0.03)
            own = segments(process.popen.pid) - segments("self")
            assert_ends_cleanly(process, draw.choice((signal.SIGINT, signal.SIGTERM)))
        assert not [segment for segment in own if segment.exists()], "shared memory is left behind"
        assert descendants(process.popen.pid) == [process.popen.pid]


def test_a_missing_bundle_ends_the_node_with_one_clear_message():
    code, log = ended(parameters={"model.bundle": "missing"})
    assert code == 1
    assert [line.partition("]: ")[2] for line in log.splitlines()] == ["no such model bundle (missing)"]


def test_a_damaged_adapter_library_ends_the_node_with_one_clear_message():
    code, log = ended(parameters={"model.bundle": "damaged"})
    assert code == 1
    assert [line.partition("]: ")[2] for line in log.splitlines()] == [
        "adapter is truncated (adapters/night): got 12 bytes, expected 3 MB"
    ]


@pytest.mark.parametrize(
    ("level", "shown"), [("debug", ["DEBUG", "INFO", "WARNING"]), ("info", ["INFO", "WARNING"]), ("warn", ["WARNING"])]
)
def test_the_log_level_of_ros_decides_which_messages_of_the_package_are_shown(level, shown):
    command = STAND_IN, "--ros-args", "--log-level", f"semla:={level}", "--"
    _, log = ended(*command, parameters={"model.bundle": "logged"})
    assert re.findall(r"a message of severity (\w+)", log) == shown


def test_an_unexpected_error_while_loading_is_logged_with_its_traceback():
    code, log = ended(parameters={"model.bundle": "broken"})
    assert code == 1
    assert "RuntimeError: unexpected" in log
    assert "Traceback" in log


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("fusion.k", "many", "setting of the wrong type (fusion.k): got 'many', expected int"),
        ("depth_topic", "depth/", "not a name in ROS 2 (depth_topic): got 'depth/'"),
    ],
)
def test_a_wrong_parameter_at_the_start_ends_the_node_with_one_clear_message(name, value, words):
    code, log = ended(parameters={name: value})
    assert code == 1
    (line,) = log.splitlines()
    assert line.partition("]: ")[2].startswith(words)


def test_two_cameras_that_are_remapped_to_one_topic_end_the_node_with_one_clear_message():
    remapped = ["-r", "front/image:=/cam", "-r", "rear/image:=/cam"]
    code, log = ended(*NODE, "--ros-args", "-p", "cameras:=[front, rear]", *remapped)
    assert code == 1
    (line,) = log.splitlines()
    assert "two cameras with the same topic (cameras): got /cam. Remap the image topic of each camera" in line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--nonsense"], "unrecognized arguments: --nonsense"),
        (["--ros-args", "-p", "nonsense"], "Couldn't parse parameter override rule: '-p nonsense'"),
        (["--ros-args", "-r", "nonsense"], "Couldn't parse remap rule: '-r nonsense'"),
        (["--ros-args", "--params-file", "/missing.yaml"], "Couldn't parse params file: '--params-file /missing.yaml'"),
    ],
)
def test_a_wrong_command_line_ends_the_node_with_one_clear_message(arguments, words):
    code, log = ended(*NODE, *arguments)
    assert code == 2
    assert words in log.splitlines()[-1]
    assert "Traceback" not in log


def test_help_explains_the_node_and_starts_nothing():
    code, log = ended(*NODE, "--help")
    assert code == 0
    assert "--params-file config/semla.yaml" in log


def test_a_mistyped_parameter_ends_the_node_and_the_nearest_name_is_offered():
    code, log = ended(parameters={"fusion.kk": 3})
    assert code == 1
    assert [line.partition("]: ")[2] for line in log.splitlines()] == [
        "unknown setting (fusion.kk): expected fusion.k or fusion.adapt"
    ]


def test_one_image_topic_for_several_cameras_ends_the_node_with_one_clear_message():
    code, log = ended(STAND_IN, "--ros-args", "-r", "image:=/camera/image_raw", parameters={"cameras": "['front']"})
    assert code == 1
    assert "one image topic for several cameras" in log
    assert "got /camera/image_raw, expected a remapping for each camera, such as front/image:=/camera/image_raw" in log
    assert "Traceback" not in log


def test_services_and_changes_of_parameters_leave_a_line_in_the_log(robot):
    process = robot.start(STAND_IN)
    robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
    assert robot.set(silence_s=7.5, image_reliability="reliable").successful
    assert robot.call(SetBool, "semla/freeze", data=True).success
    assert robot.call(Trigger, "semla/reset").success
    assert not robot.set(silence_s=-1.0).successful
    wanted = (
        "silence_s is now 7.5",
        "image_reliability is now reliable",
        "the mixture is held",
        "treated as the first",
    )
    robot.until(lambda: all(line in process.log for line in wanted), f"{wanted} in the log")
    assert process.log.count(" is now ") == 2


def test_parameters_that_ros_itself_reads_are_no_mistyped_ones(robot):
    robot.start(STAND_IN, parameters={"use_sim_time": "true", "start_type_description_service": "false"})
    robot.until(lambda: robot.lifecycle() == "active", "the node to become active")


def test_simulated_time_that_never_comes_is_reported_and_no_wrong_age(robot):
    robot.start(STAND_IN, parameters={"use_sim_time": "true"})
    with robot.camera() as publish:

        def warned():
            publish(image(5 * SECOND))
            report = robot.until(lambda: robot.newest_report(), "a diagnostics report")
            return report if "no time has arrived on /clock" in report.message else None

        report = robot.until(warned, "the warning")
        robot.until(lambda: int(values(robot.newest_report())["frames_segmented"]) > 0, "a segmented image")
    assert report.level == b"\x01"
    assert "age_ms_median" not in values(robot.newest_report())


def test_two_nodes_of_one_name_are_reported(robot):
    first, second = robot.start(STAND_IN), robot.start(STAND_IN)
    for process in (first, second):
        robot.until(lambda process=process: "2 nodes are called /semla" in process.log, "the warning in each log")


WRONG_OVERRIDES = {
    "/image.subscription.reliability": "no such reliability",
    "/image.subscription.history": "wrong QoS override",
    "/segmentation/mask.publisher.reliability": "wrong QoS override",
}


@pytest.mark.parametrize("name", WRONG_OVERRIDES)
def test_a_wrong_qos_override_ends_the_node_with_one_clear_message(name):
    code, log = ended(parameters={f"qos_overrides.{name}": "sometimes"})
    assert code == 1
    (line,) = (line for line in log.splitlines() if "[FATAL]" in line)
    assert WRONG_OVERRIDES[name] in line
    assert "sometimes" in line
    assert "Traceback" not in log


def test_a_node_that_cannot_be_activated_publishes_nothing(robot):
    overrides = {"qos_overrides./image.subscription.reliability": "sometimes", "autostart": False}
    robot.start(STAND_IN, parameters=overrides)
    assert robot.change("configure")
    assert not robot.change("activate")
    assert robot.lifecycle() == "inactive"
    assert robot.figures()["state"] == "inactive"
    assert not robot.states


@pytest.mark.parametrize("policy", ["reliability", "history"])
def test_a_wrong_qos_override_of_the_other_transport_does_not_end_the_node(robot, policy):
    process = robot.start(STAND_IN, parameters={f"qos_overrides./image/compressed.subscription.{policy}": "sometimes"})
    robot.until_active()
    result = robot.set(image_transport="compressed")
    assert result.successful == (policy == "history")  # known only when the subscription is made
    if policy == "history":
        robot.until(lambda: "sometimes" in robot.report().message, "the error in the diagnostics")
    else:
        assert "got sometimes, expected auto | reliable | best_effort" in result.reason
    assert robot.figures()["image_topic"] == "/image"
    assert process.code is None


def test_without_autostart_the_node_waits_to_be_configured_and_survives_a_missing_bundle(robot):
    process = robot.start(STAND_IN, parameters={"autostart": False, "model.bundle": "missing"})
    assert robot.lifecycle() == "unconfigured"
    assert not robot.change("configure")
    assert robot.lifecycle() == "unconfigured"
    assert "no such model bundle (missing)" in process.log
    assert process.stop() == 0


def test_an_empty_list_of_classes_in_a_parameter_file_means_those_of_the_bundle(robot, tmp_path):
    file = tmp_path / "dumped.yaml"
    file.write_text("/**:\n  ros__parameters:\n    segmenter:\n      classes: []\n    library:\n      exclude: []\n")
    robot.start(STAND_IN, params_file=file)
    robot.until(lambda: robot.lifecycle() == "active", "the node to become active")
    assert robot.get("segmenter.classes") == [""]


def test_namespace_and_remapping_move_the_topics_and_the_namespace_is_in_the_diagnostics(robot):
    robot.start(STAND_IN, remap={"__ns": "/front", "image": "/camera/image_raw"})
    with robot.hears(Image, "/front/segmentation/mask") as (masks,), robot.camera(topic="/camera/image_raw") as publish:

        def arrived():
            publish(image(SECOND))
            time.sleep(0.05)
            return masks

        robot.until(arrived, "a mask in the namespace")
    assert robot.report().name == "/front/semla: segmentation"


def test_the_compressed_topic_follows_a_remapped_image(robot):
    robot.start(STAND_IN, remap={"image": "/camera/image_raw"}, parameters={"image_transport": "compressed"})
    robot.until(lambda: robot.node.count_subscribers("/camera/image_raw/compressed"), "the subscription")


def test_qos_overrides_are_obeyed(robot):
    overrides = {
        "qos_overrides./image.subscription.reliability": "best_effort",
        "qos_overrides./segmentation/mask.publisher.reliability": "best_effort",
    }
    robot.start(STAND_IN, parameters=overrides)

    def offered(infos):
        return {each.qos_profile.reliability.name for each in infos if each.node_name == "semla"}

    def subscribed():
        return offered(robot.node.get_subscriptions_info_by_topic("/image"))

    def published():
        return offered(robot.node.get_publishers_info_by_topic("/segmentation/mask"))

    with robot.offers(reliable=True):
        assert robot.until(subscribed, "the subscription") == {"BEST_EFFORT"}
        assert robot.until(published, "the publisher") == {"BEST_EFFORT"}
        for _ in range(2):  # the node has seen the reliable camera by then, and changes nothing
            robot.report()
        assert subscribed() == {"BEST_EFFORT"}


def test_the_shipped_profile_lets_large_best_effort_images_through(robot):
    profile = {"FASTDDS_DEFAULT_PROFILES_FILE": str(LARGE_IMAGES)}
    node = robot.start(STAND_IN, **profile)
    with robot.hears(Image, MASK, reliable=False) as (masks,):
        robot.start(LIVE / "large_camera.py", **profile)
        robot.until(lambda: len(masks) >= 10, "ten masks of large images")
        assert node.stop() == 0
    assert {(mask.width, mask.height) for mask in masks} == {(1280, 720)}
