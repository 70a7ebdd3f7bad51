"""Contact sheets: what a method picks, seen side by side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from numpy.typing import ArrayLike

from skmm.numerics.inputs import check_integer
from skmm_study.figures.methods import method_label
from skmm_study.vision.images import ImageSet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SIDE = 0.6
"""Side of an image in inches."""


def contact_sheet(
    images: ImageSet, rows: Mapping[str, ArrayLike], *, columns: int = 10, pixels: int = 64
) -> Figure:
    r"""Draws a row of images for each method, under the title of the data set.

    Pictures of real cars are for your own eyes: do not publish them.

    Args:
        images: the pool.
        rows: method -> indices into the pool, of which the first ``columns`` are drawn.
        columns: images a row.
        pixels: height and width that an image is reduced to.

    Returns:
        The figure; its title says whether the images are a stand-in.

    Raises:
        ValueError: there is nothing to draw, or an image does not decode.
    """
    import matplotlib.pyplot as plt

    check_integer(columns, "columns", low=1, hint="10 fit the width of a page")
    check_integer(pixels, "pixels", low=8, hint="64 show a car")
    if not rows:
        raise ValueError("rows must map at least one method to indices, got none")
    size = (_SIDE * (columns + 1.5), _SIDE * len(rows) + 0.4)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False)
    for line, (method, indices) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set_axis_off()
        for ax, index in zip(line, list(indices)[:columns], strict=False):
            ax.imshow(images.image(int(index)).resize((pixels, pixels)))
        line[0].text(
            -0.1, 0.5, method_label(method), transform=line[0].transAxes, ha="right", va="center"
        )
    figure.suptitle(images.title)
    return figure
