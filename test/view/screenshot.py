"""Makes docs/view.png: ``PYTHONPATH=.:test python test/view/screenshot.py RESULTS --images DRIVE -o docs/view.png``.

RESULTS is written by ``semla replay DRIVE -o RESULTS``, and DRIVE by ``semla world drive --seed 3 -o DRIVE``.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from live.process import until
from PIL import Image
from view.browser import Browser
from view.serving import serving

from semla_ros.config import NodeConfig
from semla_ros.view.run import open_player


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("recording", type=Path)
    options.add_argument("--images", type=Path)
    options.add_argument("--position", type=int, default=46, help="seconds")
    options.add_argument("--size", default="1180x1050", help="of the window, pixels")
    options.add_argument("--dark", action="store_true")
    options.add_argument("--mode", default="overlay", help="overlay, beside or confidence")
    options.add_argument("-o", "--out", type=Path, required=True)
    args = options.parse_args()
    player = open_player(args.recording, NodeConfig(), images=args.images)
    player.watch(True)
    until(lambda: player.status()["player"]["complete"], "the recording to be read")
    width, height = map(int, args.size.split("x"))
    with serving(player) as (page, _), Browser(page, width, height, args.dark) as browser:
        browser.until("document.getElementById('empty').hidden", "the first image")
        player.act("pause")
        player.act("seek", args.position)
        browser.click(f"[data-mode={args.mode}]")
        browser.click("[data-span='0']")
        minutes, seconds = divmod(args.position, 60)
        browser.until(f"clock.innerText.startsWith('{minutes}:{seconds:02}')", "the position")
        browser.run("scrollTo(0, 0); new Promise(done => setTimeout(done, 700))")  # bars move to their places
        shot = Image.open(io.BytesIO(browser.screenshot()))
    shot.convert("RGB").save(args.out, optimize=True)
    player.close()
    print(f"{args.out}: {args.out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
