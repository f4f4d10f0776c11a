"""The real node around the stand-in pipeline, as a process of its own."""

import sys

from stand_in import build

from semla_ros.node.main import main

if __name__ == "__main__":
    sys.exit(main(build=build))
