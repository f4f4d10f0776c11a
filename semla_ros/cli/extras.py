"""Which extra of the package brings a module that is not installed."""

from __future__ import annotations

WORKSHOP = (
    "open_clip",
    "torchvision",
    "peft",
    "accelerate",
    "scipy",
    "matplotlib",
    "jinja2",
    "rich",
    "transformers",
    "torchmetrics",
)
EXTRAS = {
    "workshop": WORKSHOP,
    "batch": ("ray", "sklearn"),
    "view": ("aiohttp", "foxglove"),
    "ros": ("rclpy", "sensor_msgs", "std_msgs", "std_srvs", "diagnostic_msgs"),
}


def remedy(error: ModuleNotFoundError) -> str | None:
    """How to install the module that an import missed; None where no extra brings it."""
    module = (error.name or "").split(".")[0]
    for extra, modules in EXTRAS.items():
        if module in modules:
            return f"this needs {module}, which is not installed. In a clone of semla_ros: pip install '.[{extra}]'"
    return None
