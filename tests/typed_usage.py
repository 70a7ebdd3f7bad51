"""What a type checker must see of the public surface; checked by `make types`, never run."""

from typing import assert_type

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.utils.data import Subset, TensorDataset

import skmm

features = np.zeros((30, 4))
selection = skmm.select(features, 10, rng=0)
assert_type(selection, skmm.Selection)
assert_type(selection.indices, NDArray[np.intp])
assert_type(selection.weights, NDArray[np.float64])
assert_type(selection.certificate, skmm.Certificate)
assert_type(selection.view, skmm.PoolView)
assert_type(skmm.certify(selection.view, [1, 2, 3]), skmm.Certificate)
assert_type(skmm.select(features, 5, rng=0, keep=selection.labelled).kept, NDArray[np.intp])

selector = skmm.SubsetSelector(n=0.2, method="k_center").fit(features)
assert_type(selector, skmm.SubsetSelector)
assert_type(selector.support_, NDArray[np.bool_])
assert_type(selector.selected_idx_, NDArray[np.intp])

subset, chosen = skmm.select_from(nn.Linear(4, 2), TensorDataset(), 5, rng=np.random.default_rng())
assert_type(subset, Subset)
assert_type(chosen, skmm.Selection)

skmm.select(features, "ten", rng=0)  # ty: ignore[invalid-argument-type]
skmm.select(features, 10)  # ty: ignore[missing-argument]
skmm.selekt(features, 10, rng=0)  # ty: ignore[missing-attribute]
