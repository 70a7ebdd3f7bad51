"""A Ray cluster to work on: this machine's own for the time being, or one that is there."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

_OBJECT_STORE = 128 << 20
"""Bytes of shared memory that Ray takes on this machine: only names and figures pass through it."""

_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
"""A worker is one thread: more cores are used by more of them."""


@contextmanager
def cluster(address: str | None = None, *, num_cpus: int | None = None) -> Iterator[None]:
    """Connects to Ray for a ``with`` block: on this machine alone, unless told.

    A cluster of this machine's own is quiet and leaves nothing behind: no dashboard, no statistics
    sent, logs in a temporary folder of a short name (sockets lie in it), and a token that is held
    in memory, where Ray would write one into the home folder, which may be read-only. Where Ray is
    connected already, that is taken and left as it is.

    Args:
        address: Of a running cluster, such as ``"auto"`` or ``"ray://head:10001"``; its machines
            need this package and the folders of features and stores under the same paths.
        num_cpus: Processors of this machine to use, all unless told; not with ``address``.

    Raises:
        ValueError: both are given.
    """
    if address is not None and num_cpus is not None:
        raise ValueError(f"num_cpus is the cluster's own with an address, got {num_cpus}")
    if ray.is_initialized():
        yield
        return
    if address is not None:
        threads = {"env_vars": _ONE_THREAD}
        ray.init(address, runtime_env=threads, log_to_driver=False, logging_level="ERROR")
        try:
            yield
        finally:
            ray.shutdown()
        return
    short = "/tmp" if os.path.isdir("/tmp") and os.access("/tmp", os.W_OK) else None
    folder = Path(tempfile.mkdtemp(prefix="skmm", dir=short))
    token = os.environ.get("RAY_AUTH_TOKEN") or secrets.token_hex(32)
    with _environment(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_TOKEN=token, **_ONE_THREAD):
        try:
            ray.init(
                num_cpus=num_cpus,
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE,
                log_to_driver=False,
                logging_level="ERROR",
                _temp_dir=str(folder),
            )
            yield
        finally:
            ray.shutdown()
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(**values: str) -> Iterator[None]:
    """Sets variables of the environment, which Ray's processes inherit, for a ``with`` block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
