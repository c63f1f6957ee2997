"""Which examples are held out, and that no model is trained on them."""

import pytest
import torch
from torch import nn

from conftest import fit
from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.splits import choose_subset, hold_out
from sparring.games.cyclegan import CycleGAN
from sparring.games.translation import Translation
from sparring.losses import LeastSquares
from sparring.training.build import build_module


def numbered(count: int, first: int = 0) -> torch.Tensor:
    """Rows that are known by their number."""
    return torch.arange(first, first + count, dtype=torch.int64)


def rows(columns: dict[str, torch.Tensor], name: str = "images") -> list[int]:
    return columns[name][:].tolist()


def test_every_row_is_either_held_out_or_trained_on():
    training, held = hold_out({"images": numbered(50), "labels": numbered(50) % 3}, 7)
    assert len(set(rows(held))) == len(rows(held)) == 7
    assert sorted(rows(training) + rows(held)) == list(range(50)) and rows(training) == sorted(rows(training))
    for part in (training, held):
        assert torch.equal(part["labels"][:], part["images"][:] % 3), "columns stay together"
    assert rows(held) != sorted(rows(held)), "shuffled: data are often sorted by class"


def test_training_rows_are_a_view_that_reads_like_a_tensor():
    columns = {"images": torch.arange(60, dtype=torch.uint8).view(20, 3)}
    training = hold_out(columns, 4)[0]["images"]
    expected = columns["images"][training.rows]
    assert training.column is columns["images"], "a copy of large data would not fit into memory"
    assert (training.shape, training.dtype, training.nbytes, len(training)) == (
        expected.shape,
        expected.dtype,
        expected.nbytes,
        len(expected),
    )
    for part in (slice(2, 7), torch.tensor([5, 5, 0])):
        assert torch.equal(training[part], expected[part])
    assert torch.equal(training.cpu(), expected) and torch.equal(training.to(torch.device("cpu")), expected)


def test_held_out_rows_depend_on_no_seed_and_more_contain_the_fewer():
    columns = {"images": numbered(50)}
    first = hold_out(columns, 7)[1]
    assert rows(first) == [1, 44, 28, 40, 33, 13, 11], "stored runs were not trained on these"
    torch.manual_seed(99)
    assert torch.equal(hold_out(columns, 7)[1]["images"], first["images"])
    assert rows(hold_out(columns, 12)[1])[:7] == rows(first)


@pytest.mark.parametrize(("length", "held"), [(2, 1), (19, 1), (250, 25), (10_000, 1000), (30_000, 1000)])
def test_by_default_a_tenth_is_held_out_and_at_most_a_thousand(length, held):
    training, apart = hold_out({"images": numbered(length)}, None)
    assert (len(apart["images"]), len(training["images"])) == (held, length - held)


def test_all_or_no_rows_can_be_held_out():
    columns = {"images": numbered(5), "inputs": numbered(3)}
    training, held = hold_out(columns, "all")
    assert rows(held) == [0, 1, 2, 3, 4] and rows(held, "inputs") == [0, 1, 2] and not rows(training)
    training, held = hold_out(columns, 0)
    assert rows(training) == [0, 1, 2, 3, 4] and not rows(held)


def test_the_same_rows_are_held_out_of_unpaired_columns_of_different_lengths():
    training, held = hold_out({"images": numbered(40), "inputs": numbered(100)}, 10)
    assert rows(held) == rows(held, "inputs")
    assert sorted(rows(training) + rows(held)) == list(range(40))
    assert sorted(rows(training, "inputs") + rows(held, "inputs")) == list(range(100))
    assert len(hold_out({"images": numbered(100), "inputs": numbered(40)}, None)[1]["images"]) == 4


def test_holding_out_everything_is_refused():
    for count in (5, 6):
        with pytest.raises(UserError, match=f"data.held_out={count}: of 5 examples some must be left.* fewer, or null"):
            hold_out({"images": numbered(9), "inputs": numbered(5)}, count)
    with pytest.raises(UserError, match="data.held_out=1: of 1 examples"):
        hold_out({"images": numbered(1)}, None)


def test_groups_are_held_out_whole_and_more_contain_the_fewer():
    groups = torch.tensor([i % 23 for i in range(200)] + [50] * 150).sort().values
    columns, before = {"images": numbered(350)}, set()
    for count in (1, 5, 17, 40, 100, 150, 199):
        training, held = (set(rows(part)) for part in hold_out(columns, count, groups))
        assert before <= held and training | held == set(range(350)) and abs(len(held) - count) <= max(5, 9 - count)
        assert not set(groups[list(training)].tolist()) & set(groups[list(held)].tolist())
        assert not held & set(range(200, 350)), "a recording that is nearly all there is is the last to be held out"
        before = held


def test_groups_of_one_are_held_out_to_the_number():
    training, held = hold_out({"images": numbered(50)}, 7, numbered(50, 100))
    assert len(set(rows(held))) == 7 and len(rows(training)) == 43


def test_the_last_group_of_a_class_is_trained_on():
    groups = torch.tensor([0] * 5 + [1] * 5 + [2] * 5)
    columns = {"images": numbered(15), "labels": torch.tensor([0] * 10 + [1] * 5)}
    for count in (1, 14):
        training, held = hold_out(columns, count, groups)
        assert set(rows(held, "labels")) == {0} and set(rows(training, "labels")) == {0, 1}
    for alone in (columns | {"labels": groups}, {"images": numbered(15)}):
        with pytest.raises(UserError, match="data.held_out: .*add files, or .*data.held_out=0"):
            hold_out(alone, None, groups if "labels" in alone else groups * 0)


def test_a_subset_depends_on_the_seed_and_a_larger_one_contains_the_smaller():
    columns = {"images": numbered(50), "labels": numbered(50) % 3, "inputs": numbered(80)}
    few, more, others = (choose_subset(columns, *how) for how in ((10, 0), (20, 0), (10, 1)))
    assert len(rows(few)) == len(rows(few, "inputs")) == 10
    assert set(rows(few)) < set(rows(more)) and rows(few) != rows(others)
    assert torch.equal(few["labels"], few["images"] % 3)
    with pytest.raises(UserError, match="data.subset=51: there are 50"):
        choose_subset(columns, 51, 0)


# ---- through build_module and the engine --------------------------------------------------------------------------


class Factor(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(0.5))

    def forward(self, images, labels=None):
        return self.a * images


class Mean(Factor):
    def forward(self, images, labels=None):
        return self.a * images.mean((1, 2, 3))


def levels(count: int) -> torch.Tensor:
    """Images that are known by their only level, uint8."""
    return torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2).clone()


@pytest.mark.parametrize("kind", ["pairs", "unpaired", "subset"])
def test_no_model_is_trained_on_held_out_examples(kind, composed):
    def game():
        if kind == "unpaired":
            return CycleGAN(
                Factor(), Mean(), Factor(), Mean(), LeastSquares(), image_size=2, channels=1, input_channels=1
            )
        return Translation(generator=Factor(), discriminator=Mean(), loss=LeastSquares())

    columns = {"images": levels(30), "inputs": levels(50 if kind == "unpaired" else 30)}
    data = Data(columns, "key", [], paired=kind != "unpaired")
    overrides = ["data.batch_size=7", "data.held_out=6", "trainer.log_every_n_steps=1000"]
    cfg = composed(*overrides, *(["data.subset=11"] if kind == "subset" else []), "seed=5")
    module = build_module(cfg, players := game(), data)
    seen, terms = {"images": set(), "inputs": set()}, players.terms

    def watched(player, turn):
        for name, found in seen.items():
            found |= set(turn.batch[name][:, 0, 0, 0].tolist())
        return terms(player, turn)

    players.terms = watched
    fit(module, 12)
    for name, found in seen.items():
        held = set(module.held_out[name][:, 0, 0, 0].tolist())
        assert len(held) == 6 and not held & found
        if kind == "subset":
            assert len(found) == 11
        else:
            assert held | found == set(range(len(columns[name]))), "all others were"
    sampler = module.sampler()
    assert torch.equal(sampler.examples["images"], hold_out(columns, 6)[1]["images"])


def test_models_that_translate_need_held_out_examples(composed):
    game = Translation(generator=Factor(), discriminator=Mean(), loss=LeastSquares())
    data = Data({"images": levels(30), "inputs": levels(30)}, "key", [])
    with pytest.raises(UserError, match="data.held_out=0"):
        build_module(composed("data.held_out=0"), game, data)
    assert len(build_module(composed(), game, data).held_out["images"]) == 3
