from __future__ import annotations

import math

import pytest
from live.stand_in import DAY
from view.serving import SECOND, sample

from semla_ros.topics.domain import DomainSample, key_values
from semla_ros.view import history
from semla_ros.view.history import History


def test_a_sample_is_read_from_the_published_pairs_and_written_without_nan() -> None:
    read = DomainSample.of(2 * SECOND, key_values(DAY))
    assert read.adapters == (("day", 1.0, 5.0),)
    assert math.isnan(read.distance)
    assert read.as_json()["distance"] is None
    assert read.as_json()["upper"] == 8.0
    assert read.as_json()["time"] == 2.0


def test_a_reader_gets_every_sample_once() -> None:
    course = History()
    course.add(sample(1))
    restart, new, number = course.since(-1)
    assert (restart, len(new)) == (True, 1)
    course.add(sample(2))
    restart, new, number = course.since(number)
    assert (restart, [each.stamp_ns for each in new]) == (False, [2 * SECOND])
    assert course.since(number)[1] == []


def test_a_repeated_state_is_kept_once() -> None:
    course = History()
    course.add(sample(1))
    course.add(sample(1))
    assert len(course.since(-1)[1]) == 1


def test_a_stamp_that_jumps_back_begins_a_new_history_and_readers_notice() -> None:
    course = History()
    course.add(sample(10))
    _, _, number = course.since(-1)
    course.add(sample(1))
    restart, new, _ = course.since(number)
    assert (restart, [each.stamp_ns for each in new]) == (True, [SECOND])


def test_only_the_newest_samples_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "LIMIT", 3)
    course = History()
    for i in range(5):
        course.add(sample(i))
    assert [each.stamp_ns // SECOND for each in course.since(-1)[1]] == [2, 3, 4]


def test_a_state_that_is_a_little_late_is_left_out_and_does_not_begin_a_new_history() -> None:
    course = History()
    course.add(sample(10))
    _, _, number = course.since(-1)
    course.add(sample(9.5))
    course.add(sample(11))
    restart, new, _ = course.since(number)
    assert (restart, [each.stamp_ns // SECOND for each in new]) == (False, [11])


def test_a_history_that_is_cleared_begins_anew_for_every_reader() -> None:
    history = History()
    history.add(sample(1))
    _, _, number = history.since(-1)
    history.clear()
    assert history.newest is None
    history.add(sample(1))
    restart, new, _ = history.since(number)
    assert restart
    assert new == [sample(1)]
