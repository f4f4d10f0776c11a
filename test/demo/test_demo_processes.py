import signal
import time
from pathlib import Path

import pytest

from semla_ros.demo.processes import DemoError, Process, network, wait


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Starts a process of the demo from its source."""
    environment = {**network(), "PYTHONPATH": str(tmp_path)}

    def start(source):
        (tmp_path / "actor.py").write_text(source)
        return Process("actor", ["actor"], tmp_path, environment)

    return start


def ignoring(*signals):
    """Source of a process that ignores signals, and prints as soon as it does."""
    ignore = "".join(f"signal.signal(signal.{name}, signal.SIG_IGN)\n" for name in signals)
    return f"import signal, time\n{ignore}print('{{}}', flush=True)\ntime.sleep(60)"


def test_what_a_process_said_last_is_known_while_it_runs(start):
    with start('import time\nprint(\'{"n": 1}\\n{"n": 2}\\n{"n"\', end=\'\', flush=True)\ntime.sleep(60)') as actor:
        assert actor.says == {} or actor.says == {"n": 2}
        assert wait(lambda: actor.says == {"n": 2}, 60.0, actor)
        assert not actor.ended


def test_a_process_that_fails_is_told_with_its_exit_code_and_the_end_of_its_log(start):
    with start("import sys\nsys.exit('no models here')") as actor, pytest.raises(DemoError) as raised:
        wait(lambda: False, 60.0, actor)
    assert "the actor ended with exit code 1" in str(raised.value)
    assert "no models here" in str(raised.value)
    assert "actor.log" in str(raised.value)


def test_a_process_that_is_needed_and_gone_is_an_error_even_without_one_of_its_own(start):
    with start("pass") as actor, pytest.raises(DemoError, match="ended too early"):
        wait(lambda: False, 60.0, actor)


def test_waiting_ends_in_time(start):
    with start("import time\ntime.sleep(60)") as actor:
        began = time.monotonic()
        assert not wait(lambda: False, 0.2, actor)
        assert time.monotonic() - began >= 0.2


def test_a_process_that_will_not_end_is_ended(start, monkeypatch):
    monkeypatch.setattr("semla_ros.demo.processes.STOP_S", 0.3)
    with start(ignoring("SIGINT", "SIGTERM")) as actor:
        wait(lambda: actor.log.with_suffix(".jsonl").read_text() != "", 60.0)
    with pytest.raises(DemoError, match="exit code -9"):
        _ = actor.ended


def test_a_process_that_ignores_sigint_is_stopped_by_sigterm(start):
    with start(ignoring("SIGINT")) as actor:
        wait(lambda: actor.log.with_suffix(".jsonl").read_text() != "", 60.0)
    with pytest.raises(DemoError, match=f"exit code -{signal.SIGTERM}"):
        _ = actor.ended


@pytest.mark.live
def test_the_bag_is_complete_when_the_recorder_was_started_with_sigint_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell without job control does for `make demo &`
    try:
        recorder = Process("recorder", ["semla_ros.demo.recorder", str(tmp_path / "bag")], tmp_path, network())
    finally:
        signal.signal(signal.SIGINT, before)
    with recorder:
        assert wait(lambda: "ready" in recorder.says, 120.0, recorder)
    assert recorder.ended
    assert (tmp_path / "bag" / "metadata.yaml").is_file()


def test_the_demos_network_reaches_no_other_machine_and_carries_large_images():
    environment = network()
    assert environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert 1 <= int(environment["ROS_DOMAIN_ID"]) <= 100
    assert "segment_size" in Path(environment["FASTDDS_DEFAULT_PROFILES_FILE"]).read_text()
