"""``python -m semla_ros.cli``."""

import sys

from semla_ros.cli import main

sys.exit(main())
