"""The working store: a folder of rows on disk, read as one array and mended shard by shard."""

from skmm_scale.store.layout import Layout
from skmm_scale.store.manifest import Manifest, Recipe, Shard
from skmm_scale.store.store import Store

__all__ = ["Layout", "Manifest", "Recipe", "Shard", "Store"]
