"""Makes a bundle of published files: downloads and imports them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from semla_ros.library.bundle import DESCRIPTION, Bundle
from semla_ros.library.catalogue import Recipe
from semla_ros.library.importing import import_models
from semla_ros.library.new_bundle import check_is_new


def get_bundle(recipe: Recipe, out: Path, fetched: Callable[[str], Path]) -> Bundle:
    """Makes a bundle, or opens the one that is there.

    Args:
        recipe: The downloads that it consists of.
        out: Folder of the bundle. It appears when it is complete.
        fetched: Downloads a file of the catalogue by its name, or finds it complete, and returns its path.

    Raises:
        BundleError: ``out`` exists and is no bundle, or a checkpoint cannot be imported.
        FetchError: A download failed. The files that are complete are kept.
        AdapterError: An adapter does not fit.
        ArchiveError: The zip file of the adapters cannot be unpacked.
    """
    if not (out / DESCRIPTION).is_file():
        check_is_new(out)
        segmenter, library, navigator = map(fetched, (recipe.segmenter, recipe.library, recipe.navigator))
        kinds = recipe.segmenter_kind, recipe.navigator_kind, recipe.navigator_model
        import_models(segmenter, library, str(navigator), out, *kinds)
    return Bundle.open(out)
