import threading

import pytest

from semla_ros.node.signals import Stopped
from semla_ros.node.worker import Worker


class Gate:
    """Work that waits at a gate, so that a test decides how long the worker is busy."""

    def __init__(self):
        self.open, self.entered, self.done = threading.Event(), threading.Event(), []

    def __call__(self, items):
        self.entered.set()
        assert self.open.wait(60.0)
        self.done += items


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def worker(gate):
    worker = Worker(gate)
    yield worker
    gate.open.set()
    worker.stop()


def occupy(worker, gate):
    worker.offer("first")
    assert gate.entered.wait(60.0)


def test_an_idle_worker_takes_every_item(worker, gate):
    gate.open.set()
    for item in range(5):
        assert not worker.offer(item)
        worker.submit(lambda: None).result(60.0)
    assert gate.done == [0, 1, 2, 3, 4]


def test_a_busy_worker_skips_to_the_newest_item_and_reports_which_were_replaced(worker, gate):
    occupy(worker, gate)
    assert [worker.offer(item) for item in "abc"] == [False, True, True]
    gate.open.set()
    worker.submit(lambda: None).result(60.0)
    assert gate.done == ["first", "c"]


def test_a_task_runs_between_items_and_returns_its_result(worker, gate):
    occupy(worker, gate)
    task = worker.submit(lambda: list(gate.done))
    worker.offer("second")
    gate.open.set()
    assert task.result(60.0) == ["first"]


def test_the_error_of_a_task_reaches_its_caller_and_leaves_the_worker_running(worker, gate):
    gate.open.set()
    with pytest.raises(ZeroDivisionError):
        worker.submit(lambda: 1 / 0).result(60.0)
    worker.offer("still there")
    worker.submit(lambda: None).result(60.0)
    assert gate.done == ["still there"]


def test_draining_finishes_the_item_in_progress_and_returns_the_sources_of_those_it_removes(worker, gate, monkeypatch):
    occupy(worker, gate)
    worker.offer("waiting")
    worker.offer("waiting too", "rear")
    submit = worker.submit  # with which draining begins to wait
    monkeypatch.setattr(worker, "submit", lambda task: (gate.open.set(), submit(task))[1])
    assert worker.drain() == ["", "rear"]
    assert gate.done == ["first"]
    assert worker.drain() == []


def test_a_worker_takes_items_again_after_draining(worker, gate):
    gate.open.set()
    worker.drain()
    worker.offer("again")
    worker.submit(lambda: None).result(60.0)
    assert gate.done == ["again"]


def test_a_call_returns_the_result_of_its_task(worker, gate):
    assert worker.call(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 / 0)


def test_a_call_is_given_up_when_the_process_is_told_to_end(gate):
    worker = Worker(gate, stopping=gate.entered.is_set)
    occupy(worker, gate)
    with pytest.raises(Stopped):
        worker.call(lambda: None)
    gate.open.set()
    worker.stop()


def test_the_sources_take_turns_and_each_gives_its_newest_item(worker, gate):
    occupy(worker, gate)
    for item, source in [("a1", "a"), ("b1", "b"), ("a2", "a"), ("a3", "a"), ("c1", "c")]:
        worker.offer(item, source)
    gate.open.set()
    worker.submit(lambda: None).result(60.0)
    assert gate.done == ["first", "a3", "b1", "c1"]


def test_a_fast_source_does_not_hold_back_a_slow_one():
    done, worker = [], None

    def work(items):
        done.extend(items)
        if len(done) < 10:
            worker.offer("fast", "fast")  # it has a new item whenever one is taken

    worker = Worker(work)
    hold = threading.Event()
    worker.submit(hold.wait)
    worker.offer("fast", "fast")
    worker.offer("slow", "slow")
    hold.set()
    for _ in range(20):
        worker.submit(lambda: None).result(60.0)
    worker.stop()
    assert done[:3] == ["fast", "slow", "fast"]


def test_as_many_waiting_items_as_wanted_are_processed_together():
    gate, batches = Gate(), []
    worker = Worker(lambda items: (gate(items), batches.append(items)), batch=lambda: 2)
    worker.offer("first", "a")
    assert gate.entered.wait(60.0)
    for item in ("a1", "b1", "c1", "b2"):
        worker.offer(item, item[0])
    gate.open.set()
    worker.stop()
    assert batches == [["first"], ["a1", "b2"], ["c1"]]
