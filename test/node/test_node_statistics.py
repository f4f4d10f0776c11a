import pytest

from semla_ros.node.statistics import WINDOW, Statistics


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def statistics(clock):
    return Statistics(lambda: clock[0])


def test_every_frame_is_counted_as_segmented_dropped_or_failed(statistics):
    for _ in range(6):
        statistics.receive()
    for _ in range(3):
        statistics.finish({}, None)
    statistics.drop()
    statistics.drop()
    statistics.fail("truncated")
    counts = {name: int(value) for name, value in statistics.key_values().items() if name.startswith("frames_")}
    assert counts == {"frames_received": 6, "frames_segmented": 3, "frames_dropped": 2, "frames_failed": 1}


def test_frames_of_several_cameras_are_counted_for_each_and_for_all(statistics):
    for camera in ("front", "front", "rear"):
        statistics.receive(camera)
    statistics.finish({}, None, "front")
    statistics.drop("front")
    statistics.fail("truncated", "rear")
    values = statistics.key_values()
    counts = {name: int(value) for name, value in values.items() if "frames_" in name and value != "0"}
    assert counts == {
        "frames_received": 3, "frames_segmented": 1, "frames_dropped": 1, "frames_failed": 1,
        "front/frames_received": 2, "front/frames_segmented": 1, "front/frames_dropped": 1,
        "rear/frames_received": 1, "rear/frames_failed": 1,
    }  # fmt: skip


def test_latency_and_age_are_given_as_median_and_95th_percentile_in_milliseconds(statistics):
    for milliseconds in range(1, 101):
        statistics.finish({"segment": 1e-3 * milliseconds}, 2e-3 * milliseconds)
    values = statistics.key_values()
    assert float(values["latency_segment_ms_median"]) == pytest.approx(50.5)
    assert float(values["latency_segment_ms_p95"]) == pytest.approx(95.05)
    assert float(values["age_ms_median"]) == pytest.approx(101.0)


def test_only_the_last_frames_count_towards_the_latency(statistics):
    for seconds in [9.0] * WINDOW + [0.010] * WINDOW:
        statistics.finish({"segment": seconds}, None)
    assert float(statistics.key_values()["latency_segment_ms_p95"]) == pytest.approx(10.0)


def test_a_stage_that_never_ran_and_a_frame_without_stamp_have_no_figure(statistics):
    statistics.finish({"segment": 0.01}, None)
    assert not [name for name in statistics.key_values() if name.startswith(("latency_embed", "age"))]


def test_the_rate_follows_the_clock_and_falls_to_zero_when_frames_stop(statistics, clock):
    for _ in range(100):
        clock[0] += 0.1
        statistics.finish({}, None)
    assert statistics.fps == pytest.approx(10.0, abs=0.3)
    clock[0] += 60.0
    assert statistics.fps == 0.0


def test_the_rate_of_many_fast_cameras_is_not_limited(statistics, clock):
    for _ in range(12 * 600):
        clock[0] += 1 / 600
        statistics.receive("front")
    assert statistics.rate("received") == pytest.approx(600.0, abs=1.0)


def test_times_of_frames_are_forgotten_when_no_rate_needs_them(statistics, clock):
    for _ in range(1000):
        clock[0] += 1.0
        statistics.receive()
    assert len(statistics._times["received"]) <= 6


def test_a_failure_is_remembered_but_stops_alarming(statistics, clock):
    assert not statistics.alarming
    statistics.fail("truncated image")
    assert statistics.alarming
    clock[0] += 60.0
    assert not statistics.alarming
    assert statistics.key_values()["last_error"] == "truncated image"


def test_the_age_is_not_reported_any_more_when_stamps_become_zero(statistics):
    statistics.finish({}, 0.5)
    assert "age_ms_median" in statistics.key_values()
    statistics.finish({}, None)
    assert "age_ms_median" not in statistics.key_values()
