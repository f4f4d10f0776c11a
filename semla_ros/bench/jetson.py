"""What rows would take at the least on a Jetson Orin: computed from data sheets, never measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semla_ros.bench.roofline import Peak, Roofline, least_ms

TENSOR_CORES = 8  # times the float32 rate of the CUDA cores, in half precision


@dataclass(frozen=True)
class Board:
    """A module, after NVIDIA's data sheet.

    Attributes:
        cores: Of CUDA; each multiplies and adds once a cycle.
        ghz: Highest clock of the GPU.
        gbytes: Memory bandwidth, 10⁹ bytes a second, shared with the CPU.
    """

    cores: int
    ghz: float
    gbytes: float

    @property
    def peak(self) -> Peak:
        """In float32."""
        return Peak(2 * self.cores * self.ghz, self.gbytes)


BOARDS = {
    "Jetson AGX Orin 64 GB": Board(2048, 1.3, 204.8),
    "Jetson Orin NX 16 GB": Board(1024, 0.918, 102.4),
    "Jetson Orin Nano 8 GB, Super": Board(1024, 1.02, 102.4),
}


def estimates(rooflines: Mapping[str, Roofline]) -> dict[str, dict[str, dict[str, float]]]:
    """Board to precision to row to the fewest milliseconds that its operations and bytes can take."""
    return {
        name: {
            "float32": {
                row: least_ms(roofline.gflop, roofline.mbytes, board.peak) for row, roofline in rooflines.items()
            },
            "half": {
                row: least_ms(roofline.gflop / TENSOR_CORES, roofline.mbytes / 2, board.peak)
                for row, roofline in rooflines.items()
            },
        }
        for name, board in BOARDS.items()
    }
