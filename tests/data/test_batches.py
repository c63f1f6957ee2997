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
@pytest.mark.parametrize("paired", [True, False])
def test_a_stream_entered_later_continues_as_if_it_had_run_until_there(start, paired):
    batches = Batches(with_inputs(10, 10 if paired else 7), 4, flip=True, paired=paired)
    whole, entered = batches.stream(TURNS, PLAYERS), batches.stream(TURNS, PLAYERS, start=start)
    assert equal(list(islice(entered, 5)), list(islice(whole, start, start + 5)))


def test_a_stream_has_as_many_batches_for_each_player_as_it_has_turns():
    turn = next(iter(Batches(numbered(20), 4).stream(TURNS, PLAYERS)))
    assert {player: len(batches) for player, batches in turn.items()} == TURNS
    first, second = turn["discriminator"]
    assert not set(first["labels"].tolist()) & set(second["labels"].tolist())


# ---- ranks ------------------------------------------------------------------------------------------------------


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
    turn = next(iter(batches.stream(TURNS, frozenset({"discriminator"}))))
    assert [set(batch) for batch in turn["discriminator"]] == [{"images", "labels"}] * 2
    assert [set(batch) for batch in turn["generator"]] == [{"labels"}]
    assert torch.equal(turn["generator"][0]["labels"], batches.batch("generator", 0, 0, 1)["labels"])


def test_without_labels_such_a_player_gets_nothing():
    images_alone = {"images": numbered(20)["images"]}
    turn = next(iter(Batches(images_alone, 4).stream(TURNS, frozenset({"discriminator"}))))
    assert [set(batch) for batch in turn["discriminator"]] == [{"images"}] * 2
    assert turn["generator"] == [{}]


# ---- inputs -----------------------------------------------------------------------------------------------------


def with_inputs(count, inputs=None):
    """Numbered images, and inputs of two channels that carry their own number likewise."""
    return numbered(count) | {"inputs": numbered(inputs or count)["images"].repeat(1, 2, 1, 1)}


def numbers(images):
    return images.amin((1, 2, 3)).long()


def test_a_pair_stays_together_and_is_mirrored_together():
    batches = Batches(with_inputs(200), 64, flip=True)
    for iteration in range(4):
        batch = batches.batch("generator", iteration, 0, 1)
        assert batch["inputs"].shape == (64, 2, 2, 2)
        assert torch.equal(batch["inputs"], batch["images"].repeat(1, 2, 1, 1))
        assert torch.equal(numbers(batch["images"]), batch["labels"])
        assert 0 < mirrored(batch).sum() < 64


def test_inputs_change_nothing_about_the_images():
    for paired in (True, False):
        alone, beside = Batches(numbered(30), 8, flip=True), Batches(with_inputs(30), 8, flip=True, paired=paired)
        for iteration in range(8):
            batch = beside.batch("discriminator", iteration, 0, 1)
            assert torch.equal(batch["images"], alone.batch("discriminator", iteration, 0, 1)["images"])


@pytest.mark.parametrize(("count", "inputs"), [(12, 20), (20, 12), (12, 12), (3, 40), (40, 3)])
def test_unpaired_inputs_come_exactly_once_in_epochs_of_their_own(count, inputs):
    batches = Batches(with_inputs(count, inputs), 8, paired=False)
    assert len(batches) == count
    seen = [batches.batch("generator", i, 0, 1) for i in range(30)]
    for name, length in (("images", count), ("inputs", inputs)):
        epochs = torch.cat([numbers(batch[name]) for batch in seen]).split(length)
        for epoch in epochs[:-1]:
            assert epoch.sort().values.tolist() == list(range(length))


def test_unpaired_inputs_have_an_order_of_their_own_for_every_seed_player_and_epoch():
    def order(seed=0, player="generator", epoch=0, name="inputs"):
        batches = Batches(with_inputs(50), 50, seed, paired=False)
        return numbers(batches.batch(player, epoch, 0, 1)[name])

    assert torch.equal(order(), order())
    for other in ({"seed": 1}, {"player": "discriminator"}, {"epoch": 1}, {"name": "images"}):
        assert not torch.equal(order(), order(**other))


def test_unpaired_inputs_are_mirrored_apart_from_the_images():
    batch = Batches(with_inputs(250), 250, flip=True, paired=False).batch("generator", 0, 0, 1)
    of_images, of_inputs = mirrored(batch), batch["inputs"][:, 0, 0, 0] == 255
    assert 0.4 < of_inputs.double().mean() < 0.6
    assert 0.4 < (of_images == of_inputs).double().mean() < 0.6
    assert torch.equal(batch["inputs"][:, 0], batch["inputs"][:, 1])


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("count", [40, 22])  # 22: batches run over the end of an epoch
def test_two_ranks_see_together_what_one_process_with_twice_the_batch_sees(count, paired):
    columns = with_inputs(count, count if paired else 35)
    options = {"seed": 3, "flip": True, "paired": paired}
    one = Batches(columns, 8, **options)
    two = [Batches(columns, 4, rank=rank, world_size=2, **options) for rank in range(2)]
    for i in range(12):
        whole, parts = one.batch("generator", i, 1, 2), [rank.batch("generator", i, 1, 2) for rank in two]
        assert whole.keys() == columns.keys()
        assert equal(whole, {name: torch.cat([part[name] for part in parts]) for name in whole})


def test_a_player_that_draws_no_reals_still_gets_the_inputs():
    batches = Batches(with_inputs(20), 4, flip=True)
    batch = batches.batch("generator", 0, 0, 1, reals=False)
    assert set(batch) == {"labels", "inputs"}
    assert torch.equal(batch["inputs"], batches.batch("generator", 0, 0, 1)["inputs"])


def test_unpaired_inputs_do_not_follow_the_balance_of_the_classes():
    columns = with_inputs(12, 8) | {"labels": torch.tensor([0] * 10 + [1] * 2)}
    batches = Batches(columns, 8, balance=True, paired=False)
    assert numbers(batches.batch("generator", 0, 0, 1)["inputs"]).sort().values.tolist() == list(range(8))


def ramp(count: int, size: int = 16) -> torch.Tensor:
    """Images whose grey values are 8 times the column's number."""
    return (8 * torch.arange(size)).expand(count, 1, size, size).to(torch.uint8).contiguous()


def test_jitter_enlarges_by_up_to_its_share_and_cuts_out_any_place():
    batches = Batches({"images": ramp(200)}, 200, jitter=0.5)
    seen = batches.batch("generator", 0, 0, 1)["images"].float()
    slopes = (seen[:, 0, 8, 14] - seen[:, 0, 8, 1]) / 13 / 8  # an image enlarged by half has two thirds of the slope
    assert 0.65 < slopes.min() < 0.7 and 0.97 < slopes.max() < 1.02
    middles = seen[:, 0, :, 7:9].mean((1, 2)) / 8
    assert middles.min() < 6 and middles.max() > 9 and abs(middles.mean() - 7.5) < 0.3
    again = batches.batch("generator", 0, 0, 1)["images"]
    assert torch.equal(again.float(), seen) and not torch.equal(batches.batch("generator", 1, 0, 1)["images"], again)


def test_rotation_turns_by_up_to_its_degrees_to_either_side():
    image = torch.zeros(200, 1, 33, 33, dtype=torch.uint8)
    image[:, :, 15:18] = 200  # a horizontal bar
    seen = Batches({"images": image}, 200, rotation=30).batch("generator", 0, 0, 1)["images"].float()[:, 0]
    rows, columns = torch.meshgrid(torch.arange(33.0) - 16, torch.arange(33.0) - 16, indexing="ij")
    near = (rows.square() + columns.square() < 100) * seen
    tilts = torch.atan2((near * rows * columns).sum((1, 2)), (near * columns.square()).sum((1, 2))).rad2deg()
    assert -31 < tilts.min() < -26 and 26 < tilts.max() < 31 and abs(tilts.mean()) < 4


def test_an_input_is_moved_as_the_image_that_belongs_to_it_on_every_rank():
    columns = {"images": torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8)}
    columns["inputs"] = columns["images"].clone()
    options = {"flip": True, "jitter": 0.3, "rotation": 20.0}
    whole = Batches(columns, 16, **options).batch("generator", 3, 0, 1)
    assert torch.equal(whole["images"], whole["inputs"])
    parts = [Batches(columns, 8, rank=r, world_size=2, **options).batch("generator", 3, 0, 1) for r in range(2)]
    assert torch.equal(torch.cat([part["images"] for part in parts]), whole["images"])
    apart = Batches(columns, 16, paired=False, **options).batch("generator", 3, 0, 1)
    assert torch.equal(apart["images"], whole["images"]) and not torch.equal(apart["inputs"], whole["inputs"])
