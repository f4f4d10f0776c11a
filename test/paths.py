"""Where the files that tests read lie."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"
PACKAGE = ROOT / "semla_ros"
DATA = ROOT / "test" / "data"
LIVE = ROOT / "test" / "live"
