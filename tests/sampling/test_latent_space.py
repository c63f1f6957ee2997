"""Directions, walks and projections in a generator's latents, and the commands that draw them."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from conftest import CONF, blobs, engine, fit, small_game
from sparring.config.errors import UserError
from sparring.evaluation.sampler import Sampler
from sparring.games.generation import Generation
from sparring.losses import NonSaturating
from sparring.networks import dcgan, stylegan2
from sparring.networks.layers import normalize_spectrally
from sparring.sampling.directions import directions, first_weights
from sparring.sampling.latent_space import Space
from sparring.sampling.projection import project
from sparring.training.build import build_game, open_source


class Planted(nn.Module):
    """Makes 2 x 2 pixels of latents (6,) with a known first matrix."""

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        self.first = nn.Linear(*reversed(matrix.shape))
        self.first.weight.data = matrix
        self.second = nn.Linear(len(matrix), 4)

    def forward(self, latents, labels=None):
        return self.second(self.first(latents).relu()).tanh().unflatten(1, (1, 2, 2))


def sampler_of(generator: nn.Module, latent_dim: int, **options) -> Sampler:
    game = Generation(generator, nn.Identity(), NonSaturating(), latent_dim=latent_dim, **options)
    return Sampler(game, generator, "running", num_classes=3 if game.conditional else 0)


def planted() -> tuple[torch.Tensor, torch.Tensor]:
    """A matrix (5, 6) of singular values 5, 3 and 1, and its right singular vectors (3, 6)."""
    draw = torch.Generator().manual_seed(1)
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=draw))[0] for n in (5, 6))
    return left[:, :3] @ torch.diag(torch.tensor([5.0, 3.0, 1.0])) @ right[:3], right[:3]


def alike(found: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    return (found * wanted).sum(1).abs()


def test_directions_are_those_that_the_first_layer_amplifies_most():
    matrix, wanted = planted()
    found, shares = directions(Space(sampler_of(Planted(matrix), 6)), 3)
    torch.testing.assert_close(alike(found, wanted), torch.ones(3))
    torch.testing.assert_close(shares, torch.tensor([25.0, 9.0, 1.0]) / 35)
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all(), "a direction has a sign of its own"


def test_spectral_norm_does_not_change_directions():
    matrix, wanted = planted()
    sampler = sampler_of(normalize_spectrally(Planted(matrix)), 6)
    weights = first_weights(Space(sampler))
    assert 0.1 < torch.linalg.matrix_norm(weights, 2) < 2
    torch.testing.assert_close(alike(directions(Space(sampler), 3)[0], wanted), torch.ones(3))


def test_labels_change_no_direction():
    torch.manual_seed(0)
    generator = dcgan.Generator(8, 1, latent_dim=4, width=4, num_classes=3)
    weights = first_weights(Space(sampler_of(generator, 4, conditional=True)))
    own = generator.layers[0].weight[:4].permute(0, 2, 3, 1).flatten(1)  # of the latents, not of the label
    torch.testing.assert_close(weights.T @ weights, own @ own.T)


def test_stylegan2_is_walked_in_its_styles_by_the_maps_that_read_them():
    torch.manual_seed(0)
    generator = stylegan2.Generator(8, 1, latent_dim=6, width=5, mapping_layers=2)
    space = Space(sampler_of(generator, 6))
    affine = [m for m in generator.synthesis.modules() if isinstance(m, stylegan2.EqualLinear)]
    zero = torch.zeros(1, 5)
    weights = torch.cat([(map_(torch.eye(5)) - map_(zero)).T for map_ in affine])
    assert (space.name, space.dim) == ("w", 5) and len(affine) == 5
    found = first_weights(space)
    assert found.shape == weights.shape  # in the order in which they are asked
    torch.testing.assert_close(found.T @ found, weights.T @ weights)
    latents = space.sampler.latents("sample", 3)
    assert torch.equal(space.show(space.points(latents)), space.sampler.show(latents))


FAMILIES = sorted({path.stem for path in (CONF / "model/generator").glob("*.yaml")})
NOT_FROM_LATENTS = {"dirac", "lstm", "resblocks", "srresnet", "unet"}


@pytest.mark.parametrize("family", sorted(set(FAMILIES) - NOT_FROM_LATENTS - {"wavegan", "volumegan", "points"}))
def test_every_family_has_directions_that_change_its_images(family, composed):
    cfg = composed(f"model/generator={family}", "data.image_size=32", "model.width=8", "data.batch_size=4")
    open_source(cfg)
    game = build_game(cfg)
    space = Space(Sampler(game, game.generator, "batch", num_classes=10))
    assert space.dim == (8 if family == "stylegan2" else 100)
    assert first_weights(space).abs().sum(0).all() or family in ("mlp",), "every number of a latent is read"
    found, shares = directions(space, 2)
    torch.testing.assert_close(found @ found.T, torch.eye(2), atol=1e-4, rtol=0)
    assert 1 >= shares[0] >= shares[1] > 0
    start, *_, end = space.walk(space.sample("sample", 2), found[0], 3, 2.0)
    assert not torch.equal(space.make(start), space.make(end))


def test_a_walk_goes_as_many_deviations_as_asked_but_not_beyond_valid_latents():
    space = Space(sampler_of(Planted(torch.eye(6)), 6, latent="uniform"))
    points, direction = torch.zeros(2, 6), torch.eye(6)[3]
    steps = torch.stack(space.walk(points, direction, 5, 1.5))
    deviation = 3**-0.5  # of U(-1, 1)
    torch.testing.assert_close(steps[:, 0, 3], torch.linspace(-1.5, 1.5, 5) * deviation, rtol=0.05, atol=0)
    assert not steps[:, :, [0, 1, 2, 4, 5]].any()
    assert torch.stack(space.walk(points, direction, 3, 3.0))[:, 0, 3].tolist() == [-1, 0, 1]


def test_codes_of_infogan_stay_codes_in_a_walk(composed):
    cfg = composed("model=infogan", "model.width=8", "data.batch_size=4")
    open_source(cfg)
    game = build_game(cfg)
    space = Space(Sampler(game, game.generator, "batch"))
    sizes = [game.noise_dim, *game.categorical, game.continuous]
    for points in space.walk(space.sample("sample", 3), torch.full((space.dim,), space.dim**-0.5), 3, 20.0):
        noise, *codes, continuous = points.split(sizes, dim=1)
        assert noise.abs().max() > 0 and continuous.abs().max() <= 1
        for code in codes:
            torch.testing.assert_close(code.sum(1), torch.ones(3))
            assert code.min() > 0


def test_the_axes_that_change_examples_most_come_first():
    matrix = torch.diag(torch.tensor([0.1, 3.0, 0.0, 1.0, 0.0, 0.0]))
    torch.manual_seed(0)
    axes = Space(sampler_of(Planted(matrix), 6)).strongest(3)
    assert axes.argmax(1).tolist() == [1, 3, 0] and torch.equal(axes.sum(1), torch.ones(3))


@pytest.fixture(scope="module")
def trained():
    """A small conditional generator after 150 iterations on images of three classes."""
    module = engine(small_game(family=dcgan, classes=3), blobs(), 16, lr=5e-3)
    fit(module, 150)
    return module.sampler(batch_norm="running")


def test_a_projection_finds_the_generators_own_images_far_nearer_than_sampling(trained):
    space = Space(trained)
    labels = torch.arange(3)
    targets = space.show(space.sample("elsewhere", 6), torch.tensor([2] * 6))
    found = project(space, targets, labels, iterations=150, restarts=2)
    assert (found.psnr > found.nearest_psnr + 3).all() and found.psnr.mean() > 30
    assert found.labels.tolist() == [2] * 6, "their class is found, too"
    assert torch.equal(space.show(found.points, found.labels), found.made)
    error = (trained.game.scaled(found.made) - trained.game.scaled(targets)).square().flatten(1).mean(1)
    torch.testing.assert_close(found.psnr, 10 * (4 / error.clamp(min=4e-10)).log10())


def test_the_best_of_several_starts_is_returned_and_is_the_same_each_time(trained):
    space, targets = Space(trained), blobs()["images"][:5]
    one, several, again = (project(space, targets, torch.arange(3), 40, restarts) for restarts in (1, 4, 4))
    assert (several.psnr >= one.psnr - 1e-3).all() and (several.psnr > one.psnr + 0.01).any()
    error = (trained.game.scaled(several.made) - trained.game.scaled(targets)).square().flatten(1).mean(1)
    torch.testing.assert_close(several.psnr, 10 * (4 / error).log10())
    assert torch.equal(several.points, again.points)
    alone = project(space, targets[:1], torch.arange(3), 40, 4)
    torch.testing.assert_close(alone.points, several.points[:1], atol=1e-4, rtol=1e-4)


def test_projections_of_impossible_images_stay_among_samples(trained):
    impossible = 255 * (torch.arange(64).view(1, 1, 8, 8) % 3 == torch.arange(3).view(3, 1, 1, 1)).to(torch.uint8)
    space = Space(trained)
    found = project(space, impossible, torch.arange(3), iterations=100, restarts=2)
    longest = space.measured.norm(dim=1).max()
    assert (found.points.norm(dim=1) <= longest * 1.0001).all() and found.points.norm(dim=1).max() > 0.99 * longest
    untrained = small_game(family=dcgan)
    found = project(Space(Sampler(untrained, untrained.generator, "running")), impossible, None, iterations=60)
    assert (found.psnr >= found.nearest_psnr - 1e-3).all(), "without a nearer point it is the nearest sample"


def test_projections_to_uniform_latents_stay_between_minus_one_and_one():
    class Faint(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.tensor(0.5))

        def forward(self, latents, labels=None):
            return (self.gain * latents).unflatten(1, (1, 2, 2))

    space = Space(sampler_of(Faint(), 4, latent="uniform"))
    white = torch.full((1, 1, 2, 2), 255, dtype=torch.uint8)
    found = project(space, white, iterations=60, restarts=1)
    assert torch.equal(found.points, torch.ones(1, 4)) and found.labels is None


def test_the_generator_is_not_changed(trained):
    before = {name: value.clone() for name, value in trained.producer.state_dict().items()}
    space = Space(trained)
    directions(space, 2), space.strongest(1), project(space, blobs()["images"][:2], torch.arange(3), 5, 1)
    assert all(torch.equal(value, before[name]) for name, value in trained.producer.state_dict().items())
    assert all(parameter.grad is None for parameter in trained.producer.parameters())


def test_a_generator_without_a_linear_layer_for_its_latents_is_named():
    class Bent(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, latents, labels=None):
            return self.layer(latents.sin()).unflatten(1, (1, 2, 2))

    with pytest.raises(UserError, match="no layer of Bent reads its latents"):
        directions(Space(sampler_of(Bent(), 4)), 2)


# ---- the command ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    folder, quick = tmp_path_factory.mktemp("reading"), ["debug=quick", "evaluation=none", "logger=none"]
    for name, option in (("one", "data.held_out=20"), ("vae", "model=vae"), ("mended", "model=inpainting")):
        run(*quick, option, "model.width=8", f"hydra.run.dir={name}", cwd=folder)
    return folder


DRAWN = {
    "directions": {"directions.png", "directions.npy", "direction-1.png", "direction-2.png"},
    "traversal": {"traversals.png", "traversal-1.png", "traversal-2.png"},
    "interpolation": {"interpolation.png", "interpolation.gif"},
    "projection": {"projection.png", "projection.json", "points.npy"},
}
ROWS = {"directions": "directions.png", "traversal": "traversals.png", "interpolation": "interpolation.png"}
SMALL = ["sample.rows=2", "sample.steps=5", "sample.classes=[3]", "sample.frames=3", "sample.iterations=5"]


@pytest.mark.parametrize("model", ["one", "vae"])
@pytest.mark.parametrize("kind", DRAWN)
def test_each_kind_is_drawn(kind, model, folder, run):
    out = folder / f"{kind}-{model}"
    done = run("task=sample", f"run={model}", f"sample.kind={kind}", *SMALL, f"sample.folder={out}", cwd=folder)
    assert {path.name for path in out.iterdir()} == DRAWN[kind]
    if kind != "projection":
        assert (picture := Image.open(out / ROWS[kind])).size == (5 * 30 + 2, 2 * 30 + 2)
        first, last = ([picture.crop((x, y, x + 28, y + 28)).tobytes() for y in (2, 32)] for x in (2, 122))
        assert (last == first[::-1]) == (kind == "interpolation"), "each row ends where the next one starts"
    else:
        stored = json.loads((out / "projection.json").read_text())
        assert stored["images"][0]["name"] == ("held-out example 0" if model == "one" else "example 0")
        assert len(stored["own_samples_psnr"]) == 8
        assert f"{np.mean([row['psnr'] for row in stored['images']]):.2f} dB" in done.stdout


def test_given_images_are_projected(folder, run, tmp_path):
    for name in "abc":
        Image.effect_noise((50, 40), 80).save(tmp_path / f"{name}.png")
    options = ["sample.kind=projection", f"input={tmp_path}", "sample.iterations=5", "sample.folder=own"]
    run("task=sample", "run=one", *options, cwd=folder)
    stored = json.loads((folder / "own" / "projection.json").read_text())
    assert [row["name"] for row in stored["images"]] == [str(tmp_path / f"{name}.png") for name in "abc"]
    assert np.load(folder / "own" / "points.npy").shape == (3, 100)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["run=one", "sample.kind=direction"], "sample.kind=direction: must be one of samples, directions"),
        (["run=mended", "sample.kind=directions"], "Translation, answers to images; only sample.kind=samples"),
        (["run=one", "sample.kind=directions", "input=."], "sample.kind=projection finds their latents"),
        (["run=one", "sample.kind=projection", "input=nowhere"], "there is no such file or folder"),
        (["run=one", "model.width=16"], "model.width=16: task=sample takes the run as it was trained"),
        (["run=one", "sample.temperature=0.5"], "sample.temperature=0.5: is for text"),
        (["run=one", "sample.kind=traversal", "sample.steps=1"], "sample.steps=1: must be at least 2"),
    ],
)
def test_what_can_not_be_drawn_is_refused(overrides, message, folder, run):
    done = run("task=sample", *overrides, cwd=folder, check=False)
    assert done.returncode == 1 and message in done.stderr
