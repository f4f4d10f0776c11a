"""``semla models``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from semla_ros.cli.options import group, task


def add(tasks: Any) -> None:
    """Adds the subcommand."""
    models = group(tasks, "models", "model bundles")
    imported = task(models, "import", _import, "official CAT-Seg weights and a SemLA library as a bundle")
    imported.add_argument(
        "--segmenter", type=Path, required=True, help="CAT-Seg's model_final.pth (ViT-B/16, ViT-L/14@336)"
    )
    imported.add_argument("--library", type=Path, required=True, help="SemLA's loradb folder")
    imported.add_argument(
        "--navigator", default="openai", help="'openai' fetches CLIP ViT-L/14, or a file (%(default)s)"
    )
    imported.add_argument("-o", "--out", type=Path, required=True, help="bundle to write")


def _import(args: argparse.Namespace) -> None:
    from semla_ros.importing import import_models

    bundle = import_models(args.segmenter, args.library, args.navigator, args.out)
    print(f"{bundle.path}: ready for --bundle {bundle.path}, or the node's model.bundle")
