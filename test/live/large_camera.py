"""A best-effort camera of 1280x720, 2.8 MB an image, as a process of its own: ten images."""

import time

import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from robot import image
from sensor_msgs.msg import Image

rclpy.init()
node = rclpy.create_node("camera")
publisher = node.create_publisher(Image, "image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
while publisher.get_subscription_count() == 0:
    time.sleep(0.05)
time.sleep(0.3)
for second in range(1, 11):
    publisher.publish(image(10**9 * second, width=1280, height=720))
    time.sleep(0.1)
time.sleep(0.5)
rclpy.shutdown()
