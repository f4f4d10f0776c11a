"""Prints pip constraints that keep the installed PyTorch, NumPy and CUDA packages: ``python3 pins.py > pins.txt``.

An image of NVIDIA brings a PyTorch that was built for its GPU. Without constraints pip replaces it with one from PyPI,
which on a Jetson has no kernels for that GPU. The cv_bridge of a ROS distribution needs the NumPy it was built for.
"""

import re
from importlib.metadata import distributions

PINNED = re.compile(r"torch|torchvision|torchaudio|triton|numpy|nvidia-.*", re.IGNORECASE)

found = {dist.metadata["Name"]: dist.version for dist in distributions() if dist.metadata["Name"]}
for name in sorted(found):
    if PINNED.fullmatch(name):
        print(f"{name}=={found[name]}")
