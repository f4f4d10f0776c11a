"""Lower bounds of the rows' times on a Jetson Orin, computed from data sheets; nothing is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from semla_ros.bench.roofline import Peak, Roofline, least_ms

TENSOR_CORES = 8  # half-precision rate of the tensor cores over the float32 rate of the CUDA cores


@dataclass(frozen=True)
class Board:
    """A module, from NVIDIA's data sheet.

    Attributes:
        cores: Number of CUDA cores; each does one multiplication and one addition per cycle.
        ghz: Highest clock rate of the GPU, GHz.
        gbytes: Memory bandwidth, 10⁹ bytes per second, shared with the CPU.
    """

    cores: int
    ghz: float
    gbytes: float

    @property
    def peak(self) -> Peak:
        """Peak rates in float32."""
        return Peak(2 * self.cores * self.ghz, self.gbytes)


BOARDS = {
    "Jetson AGX Orin 64 GB": Board(2048, 1.3, 204.8),
    "Jetson Orin NX 16 GB": Board(1024, 0.918, 102.4),
    "Jetson Orin Nano 8 GB, Super": Board(1024, 1.02, 102.4),
}


def estimates(rooflines: Mapping[str, Roofline]) -> dict[str, dict[str, dict[str, float]]]:
    """Returns board to precision to row to the smallest time that its operations and bytes allow, milliseconds."""
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
