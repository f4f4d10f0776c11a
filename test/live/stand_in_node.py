"""The real node around the stand-in pipeline, as a process of its own."""

import sys

from semla_ros.node.main import main


def build(config):
    from live.stand_in import build  # not at the top: signals must be handled from the first moment

    return build(config)


if __name__ == "__main__":
    sys.exit(main(build=build))
