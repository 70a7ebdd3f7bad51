"""Pools that one machine's memory, or one machine, does not hold: stores on disk, shards, workers.

It builds on `skmm`, which never imports it. All work is done by functions on shards that know of no
engine; what places them on machines comes after, and is thin.
"""
