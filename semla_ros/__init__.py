"""Semantic segmentation that adapts to light and weather: SemLA as a ROS 2 perception node."""

__version__ = "0.1.0"
