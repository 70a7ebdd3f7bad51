"""Many machines: Ray places work on shards, and knows nothing of what it is (extra ``ray``)."""

from skmm.numerics.extras import extra

with extra("ray", needed_by="skmm_scale.on_ray"):
    from skmm_scale.on_ray.cluster import cluster
    from skmm_scale.on_ray.selecting import select_on_ray
    from skmm_scale.on_ray.sketching import sketch_on_ray
    from skmm_scale.on_ray.workers import workers

__all__ = ["cluster", "select_on_ray", "sketch_on_ray", "workers"]
