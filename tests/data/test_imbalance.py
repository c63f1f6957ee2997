"""Classes of unequal size: which images are used, and whose turn it is."""

from itertools import islice

import pytest
import torch

from sparring.config.errors import UserError
from sparring.config.validation import check
from sparring.data.batches import Batches
from sparring.data.dataset import Data
from sparring.data.imbalance import long_tailed
from sparring.training import build

TAIL = [60, 20, 3]


def classes_of(counts) -> dict[str, torch.Tensor]:
    """As many examples a class, shuffled; an image's one pixel is its place."""
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))]
    return {"images": torch.arange(len(labels)).view(-1, 1, 1, 1), "labels": labels}


def counts_of(labels) -> list[int]:
    return labels.bincount().tolist()


def walk(batches, epochs, player="discriminator"):
    """Places of the examples that a player sees, in batches of an epoch each."""
    return torch.cat([batches.batch(player, i, 0, 1)["images"].view(1, -1) for i in range(epochs)])


def balanced(columns, batch_size=None, **options) -> Batches:
    return Batches(columns, batch_size or len(columns["labels"]), balance=True, **options)


# ---- a long tail ------------------------------------------------------------------------------------------------


def test_a_ratio_of_100_makes_cifar_10_lt_of_cifar_10():
    kept = long_tailed(classes_of([5000] * 10), 100)["labels"]
    assert counts_of(kept) == [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]  # Cao et al. 2019, Cui et al. 2019


def test_the_ratio_holds_where_the_classes_were_unequal_already():
    assert counts_of(long_tailed(classes_of([100, 10]), 2)["labels"]) == [20, 10]
    assert counts_of(long_tailed(classes_of([10, 100, 70]), 4)["labels"]) == [10, 5, 2]
    assert counts_of(long_tailed(classes_of([40, 7, 9]), 1)["labels"]) == [7, 7, 7]


def test_images_stay_with_their_labels_and_a_steeper_tail_keeps_some_of_the_same():
    whole = classes_of([300] * 5)
    mild, steep = (long_tailed(whole, ratio) for ratio in (5, 50))
    assert torch.equal(whole["labels"][mild["images"].flatten()], mild["labels"])
    assert set(steep["images"].flatten().tolist()) < set(mild["images"].flatten().tolist())
    last = mild["images"].flatten()[mild["labels"] == 4]
    assert not torch.equal(last, (whole["labels"] == 4).nonzero().flatten()[: len(last)]), "a random choice"


def test_a_tail_without_labels_or_that_leaves_nothing_of_a_class_is_refused():
    with pytest.raises(UserError, match=r"data\.long_tail=10: needs labels"):
        long_tailed({"images": torch.zeros(5, 1, 2, 2)}, 10)
    with pytest.raises(UserError, match=r"data\.long_tail=100: class 2 would be left without an image"):
        long_tailed(classes_of([50] * 3), 100)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_is_on_the_tail_whatever_the_seed_and_a_subset_is_taken_of_it(seed, composed):
    whole = classes_of([40] * 10)
    whole["images"] = whole["images"].expand(-1, 1, 28, 28).to(torch.uint8)
    data = Data(whole, "key", [str(i) for i in range(10)])

    def trained_on(*overrides):
        cfg = composed("data.long_tail=8", "model=mlp", "model.width=8", f"seed={seed}", *overrides)
        check(cfg)
        build.open_source(cfg)
        return build.build_module(cfg, build.build_game(cfg), data).batches

    tail = long_tailed(whole, 8)
    batches = trained_on()
    assert all(torch.equal(batches.columns[name], tail[name]) for name in tail)
    assert len(data) == 400, "what scores compare with stays whole"
    few = trained_on("data.subset=30", "data.balance=true")
    seen = few.batch("discriminator", 0, 0, 1)["labels"]
    assert len(few) == 30 and counts_of(few.columns["labels"])[0] > 2 * counts_of(few.columns["labels"])[-1]
    assert max(counts_of(seen)) - min(c for c in counts_of(seen) if c) <= 2, "data.balance reaches the batches"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.balance=true", r"data\.balance=true: .*labels"),
        ("data.long_tail=50", r"data\.long_tail=50.*: .*labels"),
        ("data.long_tail=0.5", r"data\.long_tail=0\.5: must be at least 1"),
    ],
)
def test_what_can_not_be_is_refused_before_any_image_is_read(override, said, composed):
    with pytest.raises(UserError, match=said):
        check(cfg := composed("data=celeba", override))
        build.open_source(cfg)


# ---- balance ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [TAIL, [5, 5], [1, 30], [7]])
def test_in_every_epoch_every_class_comes_equally_often_up_to_one(counts):
    columns = classes_of(counts)
    seen = columns["labels"][walk(balanced(columns), 5)]
    for labels in (*seen, seen.flatten()):  # in each epoch, and in all of them
        found = labels.bincount(minlength=len(counts))
        assert found.max() - found.min() <= 1


def test_within_a_class_no_image_comes_again_before_all_others_have_come():
    columns = classes_of(TAIL)
    seen = walk(balanced(columns), 6).flatten()
    for label, count in enumerate(TAIL):
        laps = seen[columns["labels"][seen] == label].split(count)
        assert len(laps) > 2
        for lap in laps[:-1]:
            assert len(lap.unique()) == count
        assert count < 5 or not torch.equal(laps[0], laps[1]), "reshuffled"


def test_the_seed_and_the_player_decide_the_order_and_classes_are_mixed():
    columns = classes_of(TAIL)
    one, same, other = (walk(balanced(columns, seed=seed), 2) for seed in (0, 0, 1))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert not torch.equal(one, walk(balanced(columns), 2, "generator"))
    labels = columns["labels"][one[0]]
    assert 0.2 < (labels[1:] == labels[:-1]).double().mean() < 0.5, "a third of neighbours are alike"


def test_entering_later_and_sharing_among_ranks_show_the_same_examples():
    columns, players = classes_of(TAIL), {"discriminator": 2, "generator": 1}
    whole = list(islice(balanced(columns, 8, seed=3).stream(players, frozenset(players)), 40))
    late = next(iter(balanced(columns, 8, seed=3).stream(players, frozenset(players), start=37)))
    ranks = [balanced(columns, 4, seed=3, rank=rank, world_size=2) for rank in range(2)]
    for player, turns in players.items():
        for turn in range(turns):
            parts = [rank.batch(player, 37, turn, turns)["images"] for rank in ranks]
            assert torch.equal(whole[37][player][turn]["images"], late[player][turn]["images"])
            assert torch.equal(whole[37][player][turn]["images"], torch.cat(parts))


def test_classes_without_examples_have_no_turn_and_data_without_labels_are_refused():
    columns = classes_of([12, 0, 4])
    assert counts_of(columns["labels"][walk(balanced(columns), 1)[0]]) == [8, 0, 8]
    with pytest.raises(UserError, match=r"data\.balance=true: needs labels"):
        balanced({"images": torch.zeros(5, 1, 2, 2)}, 5)
