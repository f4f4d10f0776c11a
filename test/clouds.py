"""Reads point clouds as other software does: by the names, datatypes and offsets of their fields."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DATATYPES = {1: "i1", 2: "u1", 3: "<i2", 4: "<u2", 5: "<i4", 6: "<u4", 7: "<f4", 8: "<f8"}  # of sensor_msgs/PointField


def fields_of(cloud: Any) -> dict[str, str]:
    """NumPy's name of the type of each field."""
    return {field.name: np.dtype(DATATYPES[field.datatype]).str for field in cloud.fields}


def point_array(cloud: Any) -> NDArray[Any]:
    """The points of a sensor_msgs/PointCloud2, (height, width), as records."""
    dtype = np.dtype(
        {
            "names": [field.name for field in cloud.fields],
            "formats": [DATATYPES[field.datatype] for field in cloud.fields],
            "offsets": [field.offset for field in cloud.fields],
            "itemsize": cloud.point_step,
        }
    )
    strides = (cloud.row_step, cloud.point_step)
    return np.ndarray((cloud.height, cloud.width), dtype, bytes(cloud.data), strides=strides)
