"""The processes of a batch run, on this machine or on a cluster: Ray Data."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any

from semla_ros.batch.reading import Portion, read
from semla_ros.batch.rows import Row, unpacked
from semla_ros.batch.stages import Stage
from semla_ros.errors import BatchError, ConfigError

LOOPBACK = "127.0.0.1"
BLOCK_BYTES = 2**23  # of images that a worker receives at a time
STORE_BYTES = 2**29  # of shared memory for images on their way, on this machine
READER_CPUS = 0.5
LOCAL_ATTEMPTS = 4
ANSWER_S = 10.0
MOST_WITHOUT_GPU = 4  # workers by default: each has the networks in its memory
SETTINGS = {"RAY_USAGE_STATS_ENABLED": "0"}
LOCAL_SETTINGS = {
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # without clusters, Ray takes the loopback address on any system
    "RAY_memory_monitor_refresh_ms": "0",  # it would kill workers when other programs fill the memory
    "RAY_worker_niceness": "0",  # 15 otherwise: beside other programs the workers would starve
}


class RayWorkers:
    """Applies a stage to images, in several processes. Use it as a context manager.

    Ray starts with the first images. On this machine nothing listens beyond loopback, and nothing is reported to Ray's
    makers. A Ray that already runs in this process is used and left running.

    Args:
        count: Number of workers; None takes one for each GPU, or one for each core up to `MOST_WITHOUT_GPU`.
        address: A cluster, as for `ray.init`; None for this machine.
        threads: CPU threads of a worker; 0 divides the cores among the workers.
        device: "auto", "cpu" or "cuda".

    Raises:
        ModuleNotFoundError: Ray is not installed.
    """

    def __init__(self, count: int | None, address: str | None = None, threads: int = 0, device: str = "auto") -> None:
        self._wanted, self._address, self._threads, self._device = count, address, threads, device
        for name, value in (SETTINGS if address else SETTINGS | LOCAL_SETTINGS).items():
            os.environ.setdefault(name, value)  # before Ray is imported
        self._ray: Any = import_module("ray")
        self._data: Any = import_module("ray.data")
        self._has_started_ray = False

    def __enter__(self) -> RayWorkers:
        """Starts nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the processes."""
        if self._has_started_ray:
            self._ray.shutdown()

    @property
    def count(self) -> int:
        """Number of workers."""
        return self._wanted or int(self._resource("GPU")) or min(self._cores, MOST_WITHOUT_GPU)

    @property
    def threads(self) -> int:
        """CPU threads of a worker."""
        return self._threads or max(1, self._cores // self.count)

    @property
    def device(self) -> str:
        """Device of the networks: "cpu" or "cuda".

        Raises:
            ConfigError: It is to be cuda, and there is no GPU.
        """
        if self._device == "cuda" and not self._resource("GPU"):
            raise ConfigError("no CUDA device", where="model.device", got="cuda", expected="auto or cpu")
        return "cuda" if self._device != "cpu" and self._resource("GPU") else "cpu"

    def start(self) -> None:
        """Starts Ray, or connects to the cluster.

        Raises:
            BatchError: Ray cannot be started, or the cluster cannot be reached or has too few CPUs.
        """
        if not self._ray.is_initialized():
            self._start_ray()
            self._has_started_ray = True
        node = self._ray.util.get_node_ip_address()
        if not self._address and node != LOOPBACK:
            hint = "Ray was imported in this process before: begin a new one with the batch run."
            raise BatchError("Ray listens beyond this machine", where=node, hint=hint)
        if self._resource("CPU") < self.count + READER_CPUS:
            raise BatchError(
                "more workers than CPUs", where=self._address or "--workers", got=self.count,
                expected=f"at most {self._resource('CPU') - 1:.0f}",
            )  # fmt: skip

    def map(self, portions: Sequence[Portion], stage: type[Stage], *arguments: Any) -> Iterator[Row]:
        """Yields the results of a stage for all images of the portions, in any order.

        Args:
            portions: Images to read. Each portion is read by one process, in order.
            stage: Class of the stage; every worker makes one.
            *arguments: Arguments of the class.

        Raises:
            BatchError: A worker died, or failed by an error that is not ours.
        """
        gpus = min(1.0, self._resource("GPU") / self.count) if self.device == "cuda" else 0
        numbers = self._data.range(len(portions), override_num_blocks=len(portions))
        images = numbers.map_batches(read, batch_size=None, fn_kwargs={"portions": portions}, num_cpus=READER_CPUS)
        # Ray Data warns that a single recording keeps a single worker busy, and that the last two options will change.
        warnings.filterwarnings("ignore", module="ray.data")
        warnings.filterwarnings("ignore", message=".*ray_remote_args")
        results = images.map_batches(
            stage, batch_size=None, fn_constructor_args=arguments, num_cpus=1, num_gpus=gpus,
            compute=self._data.ActorPoolStrategy(size=self.count),
            max_restarts=0, max_task_retries=0,  # a worker that lacks memory would die again
        )  # fmt: skip
        try:
            for batch in results.iter_batches(batch_size=None, batch_format="numpy", prefetch_batches=0):
                yield from unpacked(batch)
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            reason = lines[-1 if isinstance(error, self._ray.exceptions.RayTaskError) else 0]
            hint = "Run the command again: it continues. Fewer --workers need less memory."
            raise BatchError("a worker failed", got=reason, hint=hint) from error

    def _start_ray(self) -> None:
        """Starts Ray. It allows itself 30 s, too little on a machine that is busy: there it is tried again."""
        _check_answers(self._address)
        attempts = 1 if self._address else LOCAL_ATTEMPTS
        for attempt in range(1, attempts + 1):
            try:
                self._ray.init(**self._options())
                return
            except Exception as error:  # Ray raises about anything here
                self._ray.shutdown()
                if attempt == attempts:
                    where = self._address or "this machine"
                    raise BatchError("Ray cannot be started", where=where, got=error) from error

    @property
    def _cores(self) -> int:
        return int(self._resource("CPU")) if self._address else len(os.sched_getaffinity(0))

    def _resource(self, name: str) -> float:
        return float(self._ray.cluster_resources().get(name, 0))

    def _options(self) -> dict[str, Any]:
        """The arguments of ``ray.init``; also sets up Ray Data."""
        context = self._data.DataContext.get_current()
        context.target_max_block_size = BLOCK_BYTES
        context.enable_progress_bars = context.print_on_execution_start = False
        context.execution_options.preserve_order = True  # one cluster follows the other
        logging.getLogger("ray.data").setLevel(logging.ERROR)
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address:
            return {"address": self._address, **quiet}
        cpus = (self._wanted or len(os.sched_getaffinity(0))) + 1
        local = {"num_cpus": cpus, "include_dashboard": False, "object_store_memory": STORE_BYTES}
        return {"address": "local", "_node_ip_address": LOOPBACK, **local, **quiet}


def _check_answers(address: str | None) -> None:
    """Raises a BatchError if nothing answers at HOST:PORT. Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        try:
            socket.create_connection((host.rpartition("/")[2], int(port)), ANSWER_S).close()
        except OSError as error:
            hint = "Start it with 'ray start --head', or correct the address."
            raise BatchError("no Ray cluster answers", where=address, got=error, hint=hint) from error
