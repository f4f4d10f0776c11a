import signal
import time
from pathlib import Path

import pytest

from semla_ros.demo.processes import DemoError, Process, wait
from semla_ros.node.network import local_network

LIMIT_S = 120.0


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a process of the demo from its source."""
    environment = {**local_network(), "PYTHONPATH": str(tmp_path)}

    def start(source):
        (tmp_path / "actor.py").write_text(source)
        return Process("actor", ["actor"], tmp_path, environment)

    return start


def ignoring(*signals):
    """Source of a process that ignores signals, and prints as soon as it does."""
    ignore = "".join(f"signal.signal(signal.{name}, signal.SIG_IGN)\n" for name in signals)
    return f"import signal, time\n{ignore}print('{{}}', flush=True)\ntime.sleep(600)"


def test_the_last_line_of_a_process_is_known_while_it_runs(start):
    with start('import time\nprint(\'{"n": 1}\\n{"n": 2}\\n{"n"\', end=\'\', flush=True)\ntime.sleep(600)') as actor:
        assert actor.says == {} or actor.says == {"n": 2}
        assert wait(lambda: actor.says == {"n": 2}, LIMIT_S, actor)
        assert not actor.ended


def test_the_error_for_a_failed_process_has_its_exit_code_and_the_end_of_its_log(start):
    with start("import sys\nsys.exit('no models here')") as actor, pytest.raises(DemoError) as raised:
        wait(lambda: False, LIMIT_S, actor)
    assert "the actor ended with exit code 1" in str(raised.value)
    assert "no models here" in str(raised.value)
    assert "actor.log" in str(raised.value)


def test_a_needed_process_that_ended_without_an_error_is_an_error(start):
    with start("pass") as actor, pytest.raises(DemoError, match="ended too early"):
        wait(lambda: False, LIMIT_S, actor)


def test_waiting_ends_after_its_time_limit(start):
    with start("import time\ntime.sleep(600)") as actor:
        began = time.monotonic()
        assert not wait(lambda: False, 0.2, actor)
        assert time.monotonic() - began >= 0.2
        assert not actor.ended  # the limit was what ended the waiting


def test_a_process_that_ignores_the_signal_is_killed(start, monkeypatch):
    monkeypatch.setattr("semla_ros.demo.processes.STOP_S", 0.3)
    with start(ignoring("SIGINT", "SIGTERM")) as actor:
        wait(lambda: actor.log.with_suffix(".jsonl").read_text() != "", LIMIT_S)
    with pytest.raises(DemoError, match="exit code -9"):
        _ = actor.ended


def test_a_process_that_ignores_sigint_is_stopped_by_sigterm(start):
    with start(ignoring("SIGINT")) as actor:
        wait(lambda: actor.log.with_suffix(".jsonl").read_text() != "", LIMIT_S)
    with pytest.raises(DemoError, match=f"exit code -{signal.SIGTERM}"):
        _ = actor.ended


@pytest.mark.live
def test_the_bag_is_complete_when_the_recorder_was_started_with_sigint_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control does for `make demo &`
    try:
        recorder = Process("recorder", ["semla_ros.demo.recorder", str(tmp_path / "bag")], tmp_path, local_network())
    finally:
        signal.signal(signal.SIGINT, before)
    with recorder:
        assert wait(lambda: "ready" in recorder.says, LIMIT_S, recorder)
    assert recorder.ended
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_the_network_of_the_demo_is_local_and_carries_large_images():
    environment = local_network()
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert 1 <= int(environment["ROS_DOMAIN_ID"]) <= 100
    assert "segment_size" in Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).read_text()
