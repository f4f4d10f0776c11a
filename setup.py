"""Package semla_ros (ament_python)."""

from glob import glob
from pathlib import Path

from setuptools import find_packages, setup

NAME = "semla_ros"

# A plain install runs the pipeline, `semla replay`, and the node where ROS 2 is installed.
ROBOT = [
    "torch>=2.4,<3",
    "numpy>=1.24,<3",
    "opencv-python-headless>=4.6,<6",  # cv2 without the display libraries a robot lacks
    "pillow>=10",
    "pyyaml>=6,<7",
    "safetensors>=0.4,<1",
    "tokenizers>=0.20,<1",
    "rosbags>=0.11.9,<0.12",
    "av>=14.1",  # videos as input of `semla replay`; imported when one is opened
    "tqdm>=4.66,<5",
    "typing_extensions>=4",
]

# ROS 2 from PyPI, for machines without a ROS installation.
ROS = [
    "ros-rclpy[fastrtps]>=9.1,<10",
    "ros-sensor-msgs>=5.5,<6",
    "ros-std-msgs>=5.5,<6",
    "ros-std-srvs>=5.5,<6",
    "ros-diagnostic-msgs>=5.5,<6",
]

# What the desk needs: training, evaluation, benchmark, demo, import of published models.
WORKSHOP = [
    "open_clip_torch>=2.30,<4",
    "torchvision<1",
    "peft>=0.12,<1",
    "accelerate>=1.0,<2",  # several GPUs and mixed precision in training
    "scipy>=1.10,<2",  # the pivoted QR decomposition of RecycleLoRA
    "matplotlib>=3.7,<4",
    "jinja2>=3,<4",
    "rich>=13",
    "transformers>=4.45,<6",  # Mask2Former, the mask generator of FISA
    "torchmetrics>=1.4,<2",  # panoptic quality
]

# `semla batch`: many images on all cores, or on a cluster.
BATCH = ["ray[data]>=2.50,<2.64", "scikit-learn>=1.3,<2"]

# `semla view`: the page in the browser and the Foxglove server.
VIEW = ["foxglove-sdk>=0.30,<1", "aiohttp>=3.9,<4"]

TEST = ["pytest>=8,<10", "hypothesis>=6,<7"]

DEV = [*TEST, "setuptools>=70.1", "packaging", "ruff>=0.9,<0.18", "mypy>=1.14,<3", "types-PyYAML", "types-tqdm"]


def installed(folder: str) -> list[tuple[str, list[str]]]:
    """Data files of a folder, kept in their layout below share/semla_ros."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return [(f"share/{NAME}/{path.parent}", [str(path)]) for path in files]


setup(
    name=NAME,
    version="0.1.0",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={
        NAME: ["py.typed"],
        f"{NAME}.demo": ["*.jinja"],
        f"{NAME}.gaps": ["*.jinja"],
        f"{NAME}.view": ["page/*"],
        f"{NAME}.modeling.clip": ["tokenizer.json"],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"share/{NAME}/launch", glob("launch/*.launch.py")),
        *installed("config"),
        *installed("models"),
    ],
    python_requires=">=3.10",
    install_requires=ROBOT,
    extras_require={"ros": ROS, "workshop": WORKSHOP, "batch": BATCH, "view": VIEW, "test": TEST, "dev": DEV},
    zip_safe=False,
    maintainer="semla_ros developers",
    maintainer_email="semla_ros@users.noreply.github.com",
    description="Semantic segmentation that adapts to light and weather: SemLA as a ROS 2 perception node",
    license="Apache-2.0",
    entry_points={
        "console_scripts": [
            "semla = semla_ros.cli:main",
            "semla_node = semla_ros.node.main:main",
        ],
    },
)
