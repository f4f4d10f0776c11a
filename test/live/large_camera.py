"""A best-effort camera of 1280x720, 2.8 MB per image, as a process of its own. It sends until it is ended."""

import itertools
import time

import rclpy
from live.robot import image
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
for second in itertools.count(1):
    publisher.publish(image(10**9 * second, width=1280, height=720))
    time.sleep(0.1)
