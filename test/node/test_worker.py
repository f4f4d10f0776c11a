import threading

import pytest

from semla_ros.node.worker import Worker


class Gate:
    """Work that waits at a gate, so that a test decides when the worker is busy."""

    def __init__(self):
        self.open, self.entered, self.done = threading.Event(), threading.Event(), []

    def __call__(self, item):
        self.entered.set()
        assert self.open.wait(5.0)
        self.done.append(item)


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
    assert gate.entered.wait(5.0)


def test_an_idle_worker_takes_every_item(worker, gate):
    gate.open.set()
    for item in range(5):
        assert not worker.offer(item)
        worker.run(lambda: None).result(5.0)
    assert gate.done == [0, 1, 2, 3, 4]


def test_a_busy_worker_skips_to_the_newest_item_and_tells_which_gave_way(worker, gate):
    occupy(worker, gate)
    assert [worker.offer(item) for item in "abc"] == [False, True, True]
    gate.open.set()
    worker.run(lambda: None).result(5.0)
    assert gate.done == ["first", "c"]


def test_an_errand_runs_between_items_and_returns_its_result(worker, gate):
    occupy(worker, gate)
    task = worker.run(lambda: list(gate.done))
    worker.offer("second")
    gate.open.set()
    assert task.result(5.0) == ["first"]


def test_an_errands_error_reaches_who_asked_and_leaves_the_worker_alive(worker, gate):
    gate.open.set()
    with pytest.raises(ZeroDivisionError):
        worker.run(lambda: 1 / 0).result(5.0)
    worker.offer("still there")
    worker.run(lambda: None).result(5.0)
    assert gate.done == ["still there"]


def test_draining_finishes_the_item_at_work_and_withdraws_the_waiting_one(worker, gate):
    occupy(worker, gate)
    worker.offer("waiting")
    threading.Timer(0.05, gate.open.set).start()
    assert worker.drain()
    assert gate.done == ["first"]
    assert not worker.drain()


def test_a_worker_takes_items_again_after_draining(worker, gate):
    gate.open.set()
    worker.drain()
    worker.offer("again")
    worker.run(lambda: None).result(5.0)
    assert gate.done == ["again"]
