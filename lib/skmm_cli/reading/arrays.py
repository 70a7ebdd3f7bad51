"""Arrays in: NumPy's files, safetensors, PyTorch's tensors. No pickle is opened, no code is run."""

from __future__ import annotations

import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skmm.numerics.extras import extra
from skmm_cli.errors import CommandError


def map_npy(path: Path) -> NDArray:
    """Maps ``.npy`` into memory, whatever numbers it holds."""
    with path.open("rb") as file:
        if file.read(6) != np.lib.format.MAGIC_PREFIX:
            raise CommandError(f"cannot read {path}: it is no .npy file, whatever its name")
    return np.load(path, mmap_mode="r", allow_pickle=False)


def read_npy(path: Path) -> dict[str, NDArray]:
    """Reads ``.npy``, mapped into memory, so that no copy is held beside the file's pages."""
    return {"": _plain(map_npy(path), path)}


def read_npz(path: Path) -> dict[str, NDArray]:
    """Reads the arrays of ``.npz``."""
    if not zipfile.is_zipfile(path):
        raise CommandError(f"cannot read {path}: it is no .npz archive, or a truncated one")
    with np.load(path, allow_pickle=False) as archive:
        return {name: _plain(archive[name], path) for name in archive.files}


def read_safetensors(path: Path) -> dict[str, NDArray]:
    """Reads the tensors of ``.safetensors``; ``bfloat16``, which NumPy lacks, as ``float32``."""
    with extra("cli", needed_by="reading .safetensors"):
        from safetensors import safe_open
    with safe_open(path, framework="numpy") as archive:
        kinds = {name: archive.get_slice(name).get_dtype() for name in archive.keys()}  # noqa: SIM118
        if not any(kind.startswith(("BF", "F8")) for kind in kinds.values()):
            return {name: archive.get_tensor(name) for name in kinds}
    with extra("gradients", needed_by="reading tensors of bfloat16"):
        from safetensors.torch import load_file
    return {name: _array(tensor) for name, tensor in load_file(path).items()}


def read_pt(path: Path) -> dict[str, NDArray]:
    """Reads a tensor or a dictionary of tensors, as ``torch.save`` wrote it; weights alone."""
    with extra("gradients", needed_by="reading .pt"):
        import torch
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            held = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's own advice is to open it all the same
        raise CommandError(
            f"cannot read {path}: it is broken or holds more than tensors, which could run code"
        ) from error
    if isinstance(held, torch.Tensor):
        return {"": _array(held)}
    if not isinstance(held, dict):
        raise CommandError(f"{path} holds a {type(held).__name__}, not tensors")
    tensors = {str(name): one for name, one in held.items() if isinstance(one, torch.Tensor)}
    return {name: _array(tensor) for name, tensor in tensors.items()}


def _array(tensor: Any) -> NDArray:
    dense = tensor.detach().to_dense() if tensor.is_sparse else tensor.detach()
    return (dense.float() if dense.is_floating_point() and dense.itemsize < 4 else dense).numpy()


def _plain(array: NDArray, path: Path) -> NDArray:
    if array.dtype.names:
        raise CommandError(f"{path} holds records {array.dtype.names}, not rows of numbers")
    return array.astype(np.float32) if array.dtype == np.float16 else array
