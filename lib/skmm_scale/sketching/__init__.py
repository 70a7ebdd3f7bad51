"""Rows into a store: what makes the rows of any samples, and what makes shards of them."""

from skmm_scale.sketching.features import FeatureSource
from skmm_scale.sketching.shards import Source, sketch_shard, sketch_shards, sketch_share

__all__ = ["FeatureSource", "Source", "sketch_shard", "sketch_shards", "sketch_share"]
