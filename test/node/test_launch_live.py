"""The launch file, started by the real ``ros2 launch`` in a workspace that this package was built in."""

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest
from paths import DATA

pytest.importorskip("rclpy")

from live.process import free_domain, release, until

pytestmark = [pytest.mark.live, pytest.mark.slow]


@pytest.fixture
def launch():
    """A function that starts ``ros2 launch``; returns the process and a function that reads its output."""
    packages = pytest.importorskip("ament_index_python.packages")
    try:
        packages.get_package_prefix("semla_ros")
    except LookupError:
        pytest.skip("needs a sourced workspace in which colcon has built semla_ros")
    if not shutil.which("ros2"):
        pytest.skip("needs the command ros2")
    domain, started = free_domain(), []

    def start(*arguments, file="semla.launch.py"):
        log = tempfile.NamedTemporaryFile()  # noqa: SIM115
        process = subprocess.Popen(
            ["ros2", "launch", "semla_ros", file, *arguments],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"},
        )
        started.append((process, log))
        return process, lambda: Path(log.name).read_text(errors="replace")

    yield start
    for process, log in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.wait()
        log.close()
    release(domain)


def ended(process, log):
    until(lambda: process.poll() is not None, f"ros2 launch to end; its log is\n{log()}")
    return process.returncode


def pid_of_the_node(log):
    until(lambda: "active:" in log(), f"the node to become active; the log is\n{log()}")
    return int(log().partition("process started with pid [")[2].partition("]")[0])


def has_ended(pid):
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_node_that_cannot_start_ends_the_launch_with_exit_code_1(launch):
    process, log = launch("bundle:=missing")
    assert ended(process, log) == 1
    assert "no model bundle (missing)" in log()


def test_a_missing_parameter_file_ends_the_launch_with_exit_code_1(launch):
    process, log = launch("params_file:=/missing.yaml")
    assert ended(process, log) == 1
    assert "params_file: no such file: /missing.yaml" in log()
    assert "process started" not in log()


def test_a_node_that_dies_ends_the_launch_with_exit_code_1(launch):
    process, log = launch("device:=cpu")
    os.kill(pid_of_the_node(log), signal.SIGKILL)
    assert ended(process, log) == 1


def test_a_node_that_dies_is_started_again_if_asked(launch):
    process, log = launch("device:=cpu", "respawn:=true")
    os.kill(pid_of_the_node(log), signal.SIGKILL)
    until(lambda: log().count("active:") == 2, f"the node to become active again; the log is\n{log()}")
    process.send_signal(signal.SIGINT)
    assert ended(process, log) == 0


@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 0), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_signal_to_the_launch_ends_the_node(launch, how, code):
    process, log = launch("device:=cpu", "log_level:=warn", "autostart:=true")
    until(lambda: "process started with pid" in log(), f"the node; the log is\n{log()}")
    pid = int(log().partition("process started with pid [")[2].partition("]")[0])
    process.send_signal(how)
    assert ended(process, log) == code
    until(lambda: has_ended(pid), "the node to end")


VIDEO = DATA / "udacity_highway.mp4"
DEMO = "demo.launch.py"


def test_the_demo_plays_a_recording_into_the_node_and_ends_with_it(launch):
    process, log = launch(f"recording:={VIDEO}", "device:=cpu", "loop:=false", "rviz:=false", file=DEMO)
    assert ended(process, log) == 0
    assert "/camera/image_raw  sensor_msgs/msg/Image" in log()
    assert "active: /camera/image_raw, reliable" in log()
    assert "Traceback" not in log()


def test_a_recording_that_cannot_be_played_ends_the_demo_with_exit_code_1(launch):
    process, log = launch("recording:=missing", "device:=cpu", "rviz:=false", file=DEMO)
    assert ended(process, log) == 1
    assert "no such recording" in log()


def test_the_demo_opens_rviz_where_it_is_installed_and_says_so_where_it_is_not(launch):
    process, log = launch(f"recording:={VIDEO}", "device:=cpu", file=DEMO)
    until(lambda: "rviz2" in log() and "active:" in log(), f"rviz and the node; the log is\n{log()}")
    process.send_signal(signal.SIGINT)
    assert ended(process, log) == 0
