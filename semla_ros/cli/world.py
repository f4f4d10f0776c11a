"""``semla world``: renders StreetWorld to data sets and drives."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import group, positive, seed, task
from semla_ros.errors import ConfigError

LONGEST_S = 86_400  # of a leg


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    render = group(tasks, "world", "render StreetWorld")
    dataset = task(render, "dataset", _dataset, "write images, label maps and captions of a domain")
    dataset.add_argument("domain", help="clear_day, fog_night, ..., or 'all': every domain in its own subfolder")
    dataset.add_argument("-o", "--out", type=Path, required=True, help="folder to write")
    dataset.add_argument("-n", "--count", type=positive, default=100, help="number of images (%(default)s)")
    dataset.add_argument("--seed", type=seed, default=0, help="seed of the streets (%(default)s)")
    dataset.add_argument(
        "--layout", choices=("plain", "cityscapes", "coco"), default="plain",
        help="plain: label maps, for 'semla train adapter'; cityscapes: those of 'semla evaluate --protocol semla';"
        " coco: with instances, in the panoptic format of COCO, for 'semla train masks' (%(default)s)",
    )  # fmt: skip
    drive = task(
        render,
        "drive",
        _drive,
        "write a ROS 2 bag of a drive through changing weather, 10 images per second, with ground truth",
    )
    drive.add_argument("-o", "--out", type=Path, required=True, help="folder of the bag")
    drive.add_argument("--seed", type=seed, default=0, help="seed of street and weather (%(default)s)")
    drive.add_argument(
        "--leg",
        action="append",
        metavar="DOMAIN:STEADY_S:TRANSITION_S",
        help="one leg of the drive; repeatable (the four legs of the demo)",
    )
    drive.add_argument("--depth", action="store_true", help="also write depth images, for segmentation/points")


def _dataset(args: argparse.Namespace) -> None:
    from semla_ros.streetworld.dataset import write_dataset
    from semla_ros.streetworld.domains import DOMAINS

    if args.domain != "all":
        write_dataset(args.out, args.domain, args.count, args.seed, layout=args.layout)
        return
    for domain in DOMAINS:
        write_dataset(args.out / domain, domain, args.count, args.seed, layout=args.layout)


def _drive(args: argparse.Namespace) -> None:
    from semla_ros.streetworld.drive import DEMO_LEGS, Drive, write_drive

    legs = [_leg(text) for text in args.leg] if args.leg else DEMO_LEGS
    write_drive(args.out, Drive(legs, args.seed), args.depth)


def _leg(text: str) -> Any:
    """Parses DOMAIN:STEADY_S or DOMAIN:STEADY_S:TRANSITION_S, seconds."""
    from semla_ros.streetworld.drive import Leg

    try:
        domain, *seconds = text.split(":")
        steady, transition = (float(each) for each in (*seconds, "0")[:2])
        if len(seconds) > 2 or not (0 < steady <= LONGEST_S and 0 <= transition <= LONGEST_S):
            raise ValueError(text)
    except ValueError as error:
        expected = f"DOMAIN:STEADY_S or DOMAIN:STEADY_S:TRANSITION_S, such as fog_day:12:3, at most {LONGEST_S} seconds"
        raise ConfigError("not a leg of a drive", where="--leg", got=text, expected=expected) from error
    return Leg(domain, steady, transition)
