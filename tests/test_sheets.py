"""Contact sheets: one row a method, the images asked for, a title that says what they are."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from skmm_study.figures.sheets import contact_sheet
from skmm_study.vision.cars import load_cars
from skmm_study.vision.standin import STANDIN_TITLE, write_standin


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    data = tmp_path_factory.mktemp("data")
    write_standin(data, rng=0, classes=2, train_per_class=3, test_per_class=1, size=32)
    return load_cars(data, split="train")


def test_sheet_shows_the_images_asked_for(images):
    rows = {"skmm": np.array([4, 1, 2]), "uniform": [3]}
    figure = contact_sheet(images, rows, columns=2, pixels=32)
    grid = np.reshape(figure.axes, (2, 2))
    shown = [[ax.images[0].get_array() if ax.images else None for ax in line] for line in grid]
    plt.close(figure)
    for line, expected in zip(shown, ([4, 1], [3, None]), strict=True):
        for picture, index in zip(line, expected, strict=True):
            if index is None:
                assert picture is None
            else:
                np.testing.assert_array_equal(picture, np.asarray(images.image(index)))
    assert figure.get_suptitle() == STANDIN_TITLE
    assert [line[0].texts[0].get_text() for line in grid] == ["SkMM", "Uniform"]


@pytest.mark.parametrize("knobs", [{"rows": {}}, {"columns": 0}, {"pixels": 4}])
def test_bad_knobs_are_refused(images, knobs):
    with pytest.raises(ValueError, match=next(iter(knobs))):
        contact_sheet(images, **({"rows": {"skmm": [0]}} | knobs))
