"""From a model and a dataset to the samples to label, without a look at a label."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from skmm import select, select_from, sketched_gradients
from skmm.gradients.activations import classifier_inputs

N, R, C = 50, 6, 3


@pytest.fixture
def x():
    return torch.from_numpy(np.random.default_rng(3).standard_normal((N, R)))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(R, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, C))


def features_of(model, x):
    """What enters the classifier, by an independent path."""
    with torch.no_grad():
        return model[1](model[0](x.float())).numpy()


class Forbidden:
    """A label that must not be looked at."""

    def __getattribute__(self, name):
        if name in ("__class__", "__reduce_ex__"):
            return object.__getattribute__(self, name)
        raise AssertionError(f"a label was asked for its {name}")


class Rows(Dataset):
    """Samples by position, made by ``make(x, label)``."""

    def __init__(self, x, make):
        self.x, self.make = x, make

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.make(self.x[i], Forbidden())


DATASETS = {
    "tensors": lambda x: Rows(x, lambda row, label: row),
    "arrays": lambda x: Rows(x, lambda row, label: row.numpy()),
    "lists of numbers by name": lambda x: Rows(x, lambda row, y: {"input": row.tolist(), "y": y}),
    "pairs": lambda x: Rows(x, lambda row, label: (row, label)),
    "triples": lambda x: Rows(x, lambda row, label: [row, label, label]),
    "mappings": lambda x: Rows(x, lambda row, label: {"id": 3, "input": row, "label": label}),
    "a tensor": lambda x: x,
    "a tensor dataset": lambda x: TensorDataset(x, torch.full((N,), -1)),
    "a subset": lambda x: Subset(TensorDataset(x.flip(0)), list(range(N))[::-1]),
    "a loader": lambda x: DataLoader(TensorDataset(x), batch_size=7),
    "a shuffled loader": lambda x: DataLoader(TensorDataset(x), batch_size=9, shuffle=True),
}


@pytest.mark.parametrize("kind", DATASETS)
def test_whatever_the_dataset_it_is_select_on_what_enters_the_classifier(kind, x, model):
    expected = select(features_of(model, x), 11, rng=2)
    dataset = DATASETS[kind](x)
    subset, selection = select_from(model, dataset, 11, rng=2, batch_size=8)
    np.testing.assert_array_equal(selection.indices, expected.indices)
    assert subset.indices == selection.indices.tolist()
    assert subset.dataset is (dataset.dataset if isinstance(dataset, DataLoader) else dataset)
    assert len(subset) == 11


@pytest.mark.parametrize("kind", [k for k in DATASETS if k != "lists of numbers by name"])
@pytest.mark.parametrize("labels", ["random", "pseudo", "fisher"])
def test_gradients_are_those_of_sketched_gradients(kind, labels, x, model):
    rows = sketched_gradients(model, x.split(50), last=1, m=16, labels=labels, rng=4)
    expected = select(rows, 11, rng=4, m=16, method="k_center")
    gradients = {"last": 1, "m": 16, "labels": labels}
    options = {"rng": 4, "method": "k_center", "gradients": gradients}
    _, selection = select_from(model, DATASETS[kind](x), 11, **options)
    np.testing.assert_array_equal(selection.indices, expected.indices)


def test_rounds_and_options_are_those_of_select(x, model):
    dataset = TensorDataset(x)
    first, _ = select_from(model, dataset, 11, rng=2, method="herding")
    second, selection = select_from(
        model, dataset, 5, rng=2, method="herding", metric="raw", keep=first.indices
    )
    assert not set(first.indices) & set(second.indices)
    assert selection.certificate.n == 16
    with pytest.raises(ValueError, match="takes no colour"):
        select_from(model, dataset, 5, rng=2, colour="red")


def test_workers_and_batches_change_nothing(x, model):
    dataset = TensorDataset(x, torch.zeros(N))
    expected = select_from(model, dataset, 11, rng=2)[1].indices
    for options in ({"batch_size": 1}, {"workers": 1, "batch_size": 13}, {"progress": True}):
        np.testing.assert_array_equal(
            select_from(model, dataset, 11, rng=2, **options)[1].indices, expected
        )


def test_model_is_given_back_as_it_was(x, model):
    model[0].eval()
    model[3].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    select_from(model, TensorDataset(x), 11, rng=2, device="cpu")
    assert [m.training for m in model.modules()] == [True, False, True, True, True]
    assert [p.requires_grad for p in model.parameters()] == [True, True, False, True]
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks for m in model.modules())


class Net(nn.Module):
    """Convolutions, tokens or text, whose outputs ``end`` hands on."""

    def __init__(self, head, end=lambda logits: logits):
        super().__init__()
        self.body, self.inner = nn.Conv2d(3, 5, 3), nn.Linear(5, 5)
        self.head, self.end = head, end

    def forward(self, pixel_values):
        maps = self.inner(self.body(pixel_values).relu().movedim(1, -1)).movedim(-1, 1)
        return self.end(self.head(maps))


POOLED = {
    "classifier": Net(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4))),
    "one output": Net(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 1)),
        lambda logits: logits.squeeze(1),
    ),
    "named outputs": Net(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)),
        lambda logits: {"hidden_states": None, "logits": logits},
    ),
    "several outputs": Net(
        nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)),
        lambda logits: (logits, logits.mean()),
    ),
    "maps": Net(nn.Identity()),
    "pooled": Net(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())),
    "tokens": Net(nn.Flatten(2), lambda maps: {"last_hidden_state": maps.transpose(1, 2)}),
}


@pytest.mark.parametrize("kind", POOLED)
def test_features_are_pooled_inputs_of_the_classifier_or_outputs(kind):
    """A linear layer within the body is no classifier: what is after it counts."""
    net = POOLED[kind]
    images = torch.from_numpy(np.random.default_rng(1).standard_normal((9, 3, 6, 6))).float()
    with torch.no_grad():
        maps = net.inner(net.body(images).relu().movedim(1, -1)).movedim(-1, 1)
        expected = maps.mean((2, 3)).numpy()
    seen = classifier_inputs(net, images.split(4))
    np.testing.assert_allclose(seen, expected, atol=1e-6)
    assert seen.dtype == np.float32


def test_features_of_a_named_layer(x, model):
    seen = classifier_inputs(model, [x.float()], layer="1")
    with torch.no_grad():
        np.testing.assert_allclose(seen, model[0](x.float()).numpy(), atol=1e-6)
    np.testing.assert_array_equal(
        select_from(model, TensorDataset(x), 9, rng=0, layer="0")[1].indices,
        select(x.float().numpy(), 9, rng=0).indices,
    )


@pytest.fixture
def folder(tmp_path):
    """Images below a folder, in folders of their own, and a file that is none."""
    rng = np.random.default_rng(0)
    for i in range(12):
        path = tmp_path / f"part {i % 3}" / f"{i:02d}.{'png' if i % 2 else 'JPG'}"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).save(path)
    (tmp_path / "labels.csv").write_text("unknown")
    return tmp_path


def as_tensor(image):
    return torch.from_numpy(np.asarray(image).copy()).movedim(-1, 0) / 255.0


def test_folder_of_images(folder):
    net = POOLED["classifier"]
    subset, selection = select_from(net, folder, 5, rng=0, inputs=as_tensor)
    paths = [subset.dataset.paths[i] for i in subset.indices]
    assert len(set(paths)) == 5
    assert all(path.parent.parent == folder for path in paths)
    images = torch.stack([as_tensor(image) for image in subset.dataset])
    expected = select(classifier_inputs(net, [images]), 5, rng=0)
    np.testing.assert_array_equal(selection.indices, expected.indices)
    assert subset[0].size == (9, 9)


def test_rows_of_hugging_face(folder, x):
    """Mappings by position, of images, too; what the model does not take is left."""
    net = POOLED["named outputs"]
    rows = [{"image": Image.new("RGB", (8, 8), (i, 0, 9)), "label": Forbidden()} for i in range(20)]
    subset, _ = select_from(net, rows, 4, rng=0, inputs=lambda row: as_tensor(row["image"]))
    assert len(subset) == 4
    named = [{"pixel_values": as_tensor(row["image"]), "id": "a"} for row in rows]
    assert select_from(net, named, 4, rng=0)[0].indices == subset.indices
    with pytest.raises(ValueError, match="entry that the model takes, got image, label; pass inp"):
        select_from(net, rows, 4, rng=0)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(torch.zeros(4, R))


def collate_fewer(batch):
    return torch.stack(batch)[:-1]


BAD = [
    ({"model": SimpleNamespace()}, "model must be a torch.nn.Module, got SimpleNamespace"),
    ({"dataset": Stream()}, "dataset must have a length and samples by position, got Stream"),
    ({"dataset": {"train": torch.zeros(9, R)}}, "got dict; pass .* of several splits one"),
    ({"dataset": torch.zeros(0, R)}, "dataset is empty"),
    ({"dataset": "/no/such/folder"}, "must be a folder of images, got '/no/such/folder'"),
    ({"dataset": ["a"] * 9}, "samples must be tensors, got str; pass inputs="),
    ({"n": 51}, r"n must be a whole number in \[1, 50\]"),
    ({"batch_size": 0}, "batch_size must be"),
    ({"workers": -1}, "workers must be"),
    ({"layer": "fc"}, "layer must name a module of the model, got 'fc'; the last ones are 1, 2, 3"),
    ({"layer": "3", "gradients": {}}, "either layer or gradients"),
    ({"gradients": {"labels": "true"}}, "one of fisher, pseudo, random, got 'true'"),
    ({"gradients": {"rng": 3}}, "gradients takes no rng; it takes autocast"),
    ({"gradients": {"last": 9}}, "last must be at most"),
]


@pytest.mark.parametrize(("change", "match"), BAD)
def test_bad_arguments_are_named(change, match, x, model):
    given = {"model": model, "dataset": x, "n": 9, "rng": 0} | change
    with pytest.raises(ValueError, match=match):
        select_from(**given)


def test_bad_loaders_are_named(x, model):
    loaders = {
        "SubsetRandomSampler": DataLoader(x, 4, sampler=SubsetRandomSampler([1, 2])),
        "batch_size=None": DataLoader(x, batch_size=None),
        "got 37 of 50 samples": DataLoader(x, 4, collate_fn=collate_fewer),
    }
    for match, loader in loaders.items():
        with pytest.raises(ValueError, match=match):
            select_from(model, loader, 9, rng=0)
    with pytest.raises(ValueError, match="inputs must be left out with a DataLoader"):
        select_from(model, DataLoader(x), 9, rng=0, inputs=as_tensor)


def test_bad_folders_are_named(folder, tmp_path):
    net = POOLED["classifier"]
    with pytest.raises(ValueError, match="inputs must be given for a folder of images"):
        select_from(net, folder, 5, rng=0)
    (folder / "part 0" / "broken.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"dataset must hold images, got '.*broken.png'"):
        select_from(net, folder, 5, rng=0, inputs=as_tensor)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="got none in"):
        select_from(net, tmp_path / "empty", 5, rng=0, inputs=as_tensor)


def test_gradients_take_several_tensors_a_sample(x):
    """Rows are those of the sum that the model makes of them."""

    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(R, 2)

        def forward(self, a, b):
            return self.fc(a + b)

    samples = Rows(x, lambda row, label: {"a": row, "b": row, "labels": label})
    model = Two()
    assert len(select_from(model, samples, 9, rng=0)[0]) == 9
    _, two = select_from(model, samples, 9, rng=0, gradients={"last": 1})
    _, one = select_from(model.fc, TensorDataset(2 * x), 9, rng=0, gradients={"last": 1})
    np.testing.assert_array_equal(two.indices, one.indices)
