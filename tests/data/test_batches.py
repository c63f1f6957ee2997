"""Which real examples a turn sees, and how: a function of the seed, the iteration and the turn alone."""

from itertools import islice

import pytest
import torch

from sparring.data.batches import Batches

TURNS = {"discriminator": 2, "generator": 1}
PLAYERS = frozenset(TURNS)


def numbered(count):
    """Images that carry their number on the left and 255 on the right."""
    images = torch.full((count, 1, 2, 2), 255, dtype=torch.uint8)
    images[..., 0] = torch.arange(count).view(-1, 1, 1)
    return {"images": images, "labels": torch.arange(count)}


def walk(batches, iterations, player="discriminator"):
    """The numbers of the examples that a player with one turn an iteration sees."""
    return torch.cat([batches.batch(player, i, 0, 1)["labels"] for i in range(iterations)])


def mirrored(batch):
    return batch["images"][:, 0, 0, 0] == 255


def equal(a, b):
    """Whether two batches, or lists or dicts of them, are the same."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    keys = a.keys() if isinstance(a, dict) else range(len(a))
    return len(a) == len(b) and all(equal(a[key], b[key]) for key in keys)


# ---- order ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "batch_size"), [(12, 4), (10, 4), (7, 7), (3, 8)])
def test_in_an_epoch_every_example_comes_exactly_once(count, batch_size):
    batches = Batches(numbered(count), batch_size)
    assert len(batches) == count
    seen = walk(batches, 3 * count)
    assert len(seen) == 3 * count * batch_size  # no batch is short
    for epoch in seen.split(count):
        assert epoch.sort().values.tolist() == list(range(count))


def test_several_turns_in_an_iteration_walk_through_the_epoch_together():
    batches = Batches(numbered(12), 2)
    seen = torch.cat([batches.batch("discriminator", i, turn, 3)["labels"] for i in range(2) for turn in range(3)])
    assert seen.sort().values.tolist() == list(range(12))


def test_images_and_labels_stay_together():
    batch = Batches(numbered(50), 32, flip=True).batch("discriminator", 3, 0, 1)
    assert torch.equal(batch["images"].amin((1, 2, 3)).long(), batch["labels"])


def test_the_order_differs_between_epochs():
    first, second, third = walk(Batches(numbered(50), 50), 3).split(50)
    assert not torch.equal(first, second) and not torch.equal(second, third)
    assert not torch.equal(first, torch.arange(50))


def test_the_seed_decides_the_order():
    orders = [walk(Batches(numbered(50), 10, seed), 5) for seed in (0, 0, 1)]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_each_player_has_an_order_of_its_own():
    batches = Batches(numbered(50), 10)
    assert not torch.equal(walk(batches, 5, "discriminator"), walk(batches, 5, "generator"))


def test_a_batch_does_not_depend_on_those_taken_before():
    asked = [7, 0, 3, 7, 1]
    used = Batches(numbered(10), 4, flip=True)
    for i in asked:
        assert equal(used.batch("generator", i, 0, 1), Batches(numbered(10), 4, flip=True).batch("generator", i, 0, 1))


@pytest.mark.parametrize("start", [1, 4, 9])
def test_a_stream_entered_later_goes_on_as_if_it_had_run_until_there(start):
    whole = Batches(numbered(10), 4, flip=True).stream(TURNS, PLAYERS)
    entered = Batches(numbered(10), 4, flip=True).stream(TURNS, PLAYERS, start=start)
    assert equal(list(islice(entered, 5)), list(islice(whole, start, start + 5)))


def test_a_stream_has_as_many_batches_for_each_player_as_it_has_turns():
    play = next(iter(Batches(numbered(20), 4).stream(TURNS, PLAYERS)))
    assert {player: len(batches) for player, batches in play.items()} == TURNS
    first, second = play["discriminator"]
    assert not set(first["labels"].tolist()) & set(second["labels"].tolist())


# ---- ranks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [40, 22])  # 22: batches run over the end of an epoch
def test_two_ranks_see_together_what_one_process_with_twice_the_batch_sees(count):
    one = Batches(numbered(count), 8, seed=3, flip=True)
    two = [Batches(numbered(count), 4, seed=3, flip=True, rank=rank, world_size=2) for rank in range(2)]
    for i in range(12):
        whole, parts = one.batch("generator", i, 1, 2), [rank.batch("generator", i, 1, 2) for rank in two]
        assert equal(whole, {name: torch.cat([part[name] for part in parts]) for name in whole})


def test_two_ranks_draw_together_what_one_process_draws():
    one = Batches(numbered(40), 8, seed=3).draws("generator", 5, 1)
    two = [Batches(numbered(40), 4, seed=3, rank=rank, world_size=2).draws("generator", 5, 1) for rank in range(2)]
    assert len(one) == 8 and [len(rank) for rank in two] == [4, 4]
    for draw in (
        lambda draws: draws.normal("latents", 3),
        lambda draws: draws.uniform("mixing", 1, 1),
        lambda draws: draws.choice("classes", torch.ones(10)),
    ):
        assert torch.equal(draw(one), torch.cat([draw(rank) for rank in two]))


@pytest.mark.parametrize("other", [("generator", 5, 0), ("generator", 6, 1), ("discriminator", 5, 1)])
def test_every_turn_draws_anew(other):
    batches = Batches(numbered(40), 8)
    latents = [batches.draws(*turn).normal("latents", 3) for turn in (("generator", 5, 1), other)]
    assert not torch.equal(*latents)


# ---- flips ------------------------------------------------------------------------------------------------------


def test_flips_mirror_about_half_of_the_images_left_to_right():
    whole = numbered(250)
    for iteration in range(4):
        batch = Batches(whole, 250, flip=True).batch("discriminator", iteration, 0, 1)
        flipped = mirrored(batch)
        assert 0.4 < flipped.double().mean() < 0.6
        original = whole["images"][batch["labels"]]
        assert torch.equal(batch["images"][flipped], original[flipped].flip(-1))
        assert torch.equal(batch["images"][~flipped], original[~flipped])


def test_flips_are_decided_anew_in_every_iteration_and_stay_with_it():
    batches = Batches(numbered(250), 250, flip=True)
    first, again, later = (mirrored(batches.batch("discriminator", i, 0, 1)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, later)


def test_nothing_is_mirrored_unless_asked():
    assert not mirrored(Batches(numbered(250), 250).batch("discriminator", 0, 0, 1)).any()


# ---- what a player draws ----------------------------------------------------------------------------------------


def test_a_player_that_draws_no_reals_gets_labels_only():
    batches = Batches(numbered(20), 4, flip=True)
    play = next(iter(batches.stream(TURNS, frozenset({"discriminator"}))))
    assert [set(batch) for batch in play["discriminator"]] == [{"images", "labels"}] * 2
    assert [set(batch) for batch in play["generator"]] == [{"labels"}]
    assert torch.equal(play["generator"][0]["labels"], batches.batch("generator", 0, 0, 1)["labels"])


def test_without_labels_such_a_player_gets_nothing():
    images_alone = {"images": numbered(20)["images"]}
    play = next(iter(Batches(images_alone, 4).stream(TURNS, frozenset({"discriminator"}))))
    assert [set(batch) for batch in play["discriminator"]] == [{"images"}] * 2
    assert play["generator"] == [{}]
