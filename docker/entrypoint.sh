#!/bin/bash
# Runs a command in the built workspace, which includes the ROS distribution that it was built with.
set -e
source /ws/install/setup.bash
exec "$@"
