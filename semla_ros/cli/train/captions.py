"""``semla train captions``: writes the captions that adapters are described with."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import positive, task
from semla_ros.errors import BundleError


def add(train: Any) -> None:
    """Adds the subcommand."""
    captions = task(
        train,
        "captions",
        _train,
        "write the captions that 'semla library describe' compares with the adapters of a StreetWorld bundle",
    )
    captions.add_argument("--bundle", default="streetworld", help="model bundle: path or name (%(default)s)")
    captions.add_argument("-n", "--images", type=positive, default=150, help="rendered images per domain (%(default)s)")


def _train(args: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    from semla_ros.library.bundle import Bundle, find_bundle
    from semla_ros.library.captions import CAPTIONS
    from semla_ros.library.manifest import relist
    from semla_ros.training.captions import SCHEDULE, caption_table, embedded
    from semla_ros.training.device import accelerator_on
    from semla_ros.training.rendered import captioned
    from semla_ros.training.world import Recipe

    bundle, seed = Bundle.open(find_bundle(args.bundle)), Recipe().seed  # the streets that the navigator has seen
    pairs = embedded(bundle.load_navigator(), captioned(args.images, seed))
    with TemporaryDirectory() as work:
        table = caption_table(bundle, pairs, SCHEDULE, Path(work), seed, accelerator_on())
    table.save(bundle.path / CAPTIONS)
    relist(bundle.path / CAPTIONS, BundleError)
    print(f"{bundle.path / CAPTIONS}: {len(table.captions)} captions")
