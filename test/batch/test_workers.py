"""How the workers are chosen and started, with a stand-in for Ray."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import pytest

from semla_ros.batch import workers
from semla_ros.batch.workers import LOCAL_ATTEMPTS, LOCAL_SETTINGS, LOOPBACK, SETTINGS, RayWorkers
from semla_ros.errors import BatchError, ConfigError


class Ray:
    """Stands in for the module ``ray``."""

    class exceptions:  # noqa: N801
        class RayError(Exception):
            pass

    def __init__(self, cpus: float = 5, gpus: float = 0, node: str = LOOPBACK, failures: int = 0) -> None:
        self.resources, self.failures = {"CPU": cpus, "GPU": gpus}, failures
        self.util = SimpleNamespace(get_node_ip_address=lambda: node)
        self.started: list[dict[str, Any]] = []
        self.running = False

    def is_initialized(self) -> bool:
        return self.running

    def init(self, **options: Any) -> None:
        self.started.append(options)
        if len(self.started) <= self.failures:
            raise Exception("The current node timed out during startup.")
        self.running = True

    def shutdown(self) -> None:
        self.running = False

    def cluster_resources(self) -> dict[str, float]:
        return self.resources


class Data:
    """Stands in for the module ``ray.data``."""

    class DataContext:
        @staticmethod
        def get_current() -> SimpleNamespace:
            return SimpleNamespace(execution_options=SimpleNamespace())


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes the package use a stand-in; returns it."""

    def using(ray: Ray) -> Ray:
        monkeypatch.setattr(workers, "import_module", {"ray": ray, "ray.data": Data}.__getitem__)
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(4))
        monkeypatch.setattr(os, "environ", {})
        monkeypatch.setattr("socket.create_connection", lambda *_: SimpleNamespace(close=lambda: None))
        return ray

    return using


@pytest.mark.parametrize(
    ("ray", "given", "expected"),
    [
        (Ray(), (None,), (4, 1, "cpu")),
        (Ray(cpus=64), (None, "head:6379"), (4, 16, "cpu")),
        (Ray(), (1,), (1, 4, "cpu")),
        (Ray(), (4,), (4, 1, "cpu")),
        (Ray(), (1, None, 3), (1, 3, "cpu")),
        (Ray(gpus=2), (None,), (2, 2, "cuda")),
        (Ray(gpus=2), (None, None, 0, "cpu"), (2, 2, "cpu")),
        (Ray(cpus=64), (8, "head:6379"), (8, 8, "cpu")),
    ],
)
def test_workers_threads_and_device_follow_from_the_machine(
    ray: Ray, given: tuple[Any, ...], expected: tuple[int, int, str], use: Any
) -> None:
    use(ray)
    made = RayWorkers(*given)
    assert (made.count, made.threads, made.device) == expected


def test_this_machine_is_used_without_dashboard_reports_and_open_ports(use: Any) -> None:
    ray = use(Ray())
    with RayWorkers(2) as made:
        made.start()
        (options,) = ray.started
    assert options["address"] == "local"
    assert options["include_dashboard"] is False
    assert options["_node_ip_address"] == LOOPBACK
    assert os.environ == SETTINGS | LOCAL_SETTINGS
    assert not ray.running


def test_a_cluster_is_used_by_its_address(use: Any) -> None:
    ray = use(Ray(node="10.0.0.1"))
    RayWorkers(2, "10.0.0.1:6379").start()
    assert ray.started[0]["address"] == "10.0.0.1:6379"
    assert os.environ == SETTINGS


def test_a_ray_that_runs_already_is_left_running(use: Any) -> None:
    ray = use(Ray())
    ray.running = True
    with RayWorkers(2) as made:
        made.start()
    assert ray.running
    assert ray.started == []


def test_a_start_that_takes_too_long_is_repeated(use: Any) -> None:
    ray = use(Ray(failures=LOCAL_ATTEMPTS - 1))
    RayWorkers(2).start()
    assert ray.running


@pytest.mark.parametrize(("address", "attempts"), [(None, LOCAL_ATTEMPTS), ("head:6379", 1)])
def test_a_ray_that_does_not_start_is_an_error(address: str | None, attempts: int, use: Any) -> None:
    ray = use(Ray(failures=100))
    with pytest.raises(BatchError, match="Ray cannot be started"):
        RayWorkers(2, address).start()
    assert len(ray.started) == attempts


def test_a_cluster_that_does_not_answer_is_an_error(use: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(place: tuple[str, int], limit_s: float) -> None:
        raise ConnectionRefusedError(111, "Connection refused")

    ray = use(Ray())
    monkeypatch.setattr("socket.create_connection", refused)
    with pytest.raises(BatchError, match=r"no Ray cluster answers \(head:6379\): got .*Connection refused"):
        RayWorkers(1, "head:6379").start()
    assert ray.started == []


def test_a_ray_that_listens_beyond_this_machine_is_refused(use: Any) -> None:
    use(Ray(node="192.168.0.7"))
    with pytest.raises(BatchError, match=r"listens beyond this machine \(192\.168\.0\.7\)"):
        RayWorkers(2).start()


def test_more_workers_than_cpus_are_refused(use: Any) -> None:
    use(Ray(cpus=4))
    with pytest.raises(BatchError, match=r"more workers than CPUs .*got 4, expected at most 3"):
        RayWorkers(4, "head:6379").start()


def test_cuda_without_a_gpu_is_refused(use: Any) -> None:
    use(Ray())
    with pytest.raises(ConfigError, match="no CUDA device"):
        _ = RayWorkers(1, device="cuda").device
