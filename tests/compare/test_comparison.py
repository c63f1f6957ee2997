"""Stored runs are read back and laid side by side: tables, curves, the page, and the real command."""

import csv
import io
import math
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from sparring.compare import curves, page
from sparring.compare.records import find
from sparring.compare.tables import combinations, over_seeds, side_by_side
from sparring.config.errors import UserError
from stored_runs import evaluation, store_run


@pytest.fixture
def sweep(tmp_path):
    """Two losses over seeds, a failed run and one that is under way."""
    for loss, values in (("hinge", (10.0, 14.0, 12.0)), ("wgan", (30.0, 20.0))):
        for seed, value in enumerate(values, 1):
            typed = ["kimg=8", f"loss={loss}", "logger=none"]
            store_run(tmp_path / f"{loss}-{seed}", typed, evaluation(fd=value, recall=0.5), seed=seed)
    failed = {"state": "failed", "error": "became NaN"}
    store_run(tmp_path / "wgan-3", ["kimg=8", "loss=wgan"], evaluation(fd=1.0, recall=0.9), seed=3, **failed)
    store_run(tmp_path / "wgan-4", ["kimg=8", "loss=wgan"], seed=4, state="running")
    return tmp_path


def numbers(table) -> dict[str, dict]:
    return {row["name"]: row for row in csv.DictReader(io.StringIO(table.csv()))}


# ---- tables -----------------------------------------------------------------------------------------------------


def test_seeds_of_a_combination_are_averaged_and_what_did_not_end_is_counted_beside(sweep):
    table = over_seeds(find(str(sweep)))
    assert [row.name for row in table.rows] == ["loss=hinge", "loss=wgan"]  # best first; kimg=8 is everyone's
    hinge, wgan = numbers(table).values()
    assert (float(hinge["fd_mean"]), float(hinge["fd_sd"]), hinge["fd_n"]) == (12.0, 2.0, "3")
    assert (
        float(wgan["fd_mean"]) == 25.0 and float(wgan["fd_sd"]) == pytest.approx(math.sqrt(50)) and wgan["fd_n"] == "2"
    )
    assert hinge["state"] == "3 done" and wgan["state"] == "2 done, 1 failed, 1 running"
    text = table.markdown()
    assert "**12.0 ± 2.0**" in text and "25.0 ± 7.1" in text and "wgan-3: became NaN" in text
    assert len({len(line) for line in text.splitlines() if line.startswith("|")}) == 1


def test_every_run_has_a_row_with_how_far_it_came(sweep):
    rows = numbers(side_by_side(find(str(sweep))))
    assert len(rows) == 7
    assert rows["wgan-3"] | {"state": "failed", "kimg": "8.0", "seconds": "75.0", "fd": "1.0"} == rows["wgan-3"]
    assert rows["wgan-4"] | {"state": "running", "fd": ""} == rows["wgan-4"]
    narrow = side_by_side(find(str(sweep))).markdown(45)
    assert "fd ↓" in narrow and "not shown here: recall, wall time, images/s, device" in narrow


def test_numbers_of_other_protocols_are_marked_and_never_averaged_or_best(sweep):
    other = {"samples": 100, "metrics": {"prdc": {"fakes": 100}}}
    store_run(sweep / "few", ["kimg=8", "loss=hinge"], evaluation(fd=1.0, recall=0.1, protocol=other), seed=9)
    records = find(str(sweep))
    table = side_by_side(records)
    marked = {row.name: row for row in table.rows}["few"].cells["fd"]
    assert not marked.comparable and not marked.best
    text = over_seeds(records).markdown()
    assert "**12.0 ± 2.0**" in text and "1 [B]" in text
    assert "B is not comparable with A: samples 100, not 500; prdc's fakes 100, not 500" in text


def test_scores_beside_other_images_of_the_same_name_are_not_comparable(tmp_path):
    store_run(tmp_path / "a", [], evaluation(fd=1.0))
    store_run(tmp_path / "b", [], evaluation(fd=2.0, protocol={"real_key": "b"}), seed=2)
    table = side_by_side(find(str(tmp_path)))
    assert [row.cells["fd"].comparable for row in table.rows] == [True, False]
    assert not any(row.cells["fd"].best for row in table.rows)  # nothing to be better than


def test_scores_of_different_names_need_no_mark(tmp_path):
    store_run(tmp_path / "a", [], evaluation(fd=1.0))
    store_run(tmp_path / "ring", ["data=ring"], evaluation(reverse_kl=0.5, protocol={"extractor": "mixture"}))
    assert all(cell.comparable for row in side_by_side(find(str(tmp_path))).rows for cell in row.cells.values())


def test_combinations_are_named_by_what_differs(tmp_path):
    for name, typed in {"a": ["n_dis=2", "loss=wgan"], "b": ["loss=wgan", "n_dis=2"], "c": ["loss=wgan"]}.items():
        store_run(tmp_path / name, typed)
    bare = store_run(tmp_path / "d")
    (bare / "overrides.yaml").unlink()
    assert combinations(find(str(tmp_path / "[ab]"))) == ["n_dis=2 loss=wgan"] * 2
    assert combinations(find(str(tmp_path / "[abc]"))) == ["n_dis=2", "n_dis=2", "defaults"]
    assert combinations(find(str(tmp_path)))[-1] == "d"  # nobody knows what was typed


# ---- curves -----------------------------------------------------------------------------------------------------


def test_a_chart_for_each_quantity_and_none_mixes_protocols(tmp_path):
    few, many = {"samples": 100}, {"samples": 500}
    path = [evaluation(float(kimg), few, fd=9.0 - kimg, fd_low=0.0) for kimg in range(3)]
    store_run(tmp_path / "a", ["loss=wgan"], *path, evaluation(2.0, many, fd=5.0))
    store_run(tmp_path / "b", ["loss=hinge"], evaluation(0.0, many, fd=9.0), evaluation(2.0, many, fd=float("nan")))
    drawn = curves.charts(curves.as_series(find(str(tmp_path))))
    assert [chart.title for chart in drawn] == ["fd", "generator/adversarial"]
    assert "from 100 samples" in drawn[0].group and drawn[1].group == "Losses"
    assert [[series.name for _, series, _ in chart.shapes] for chart in drawn] == [
        ["loss=wgan"],
        ["loss=wgan", "loss=hinge"],
    ]


def test_points_are_drawn_where_the_ticks_say(tmp_path):
    metrics = "iteration,kimg,loss\n1,1.0,0.5\n2,2.0,5.0\n3,4.0,500.0\n"
    store_run(tmp_path / "a", metrics=metrics)
    (chart,) = curves.charts(curves.as_series(find(str(tmp_path / "a"))))
    ((kind, _, path),) = chart.shapes
    points = [tuple(map(float, point.split())) for point in path.removeprefix("M").split("L")]
    x, y = ({label: position for position, label in ticks} for ticks in (chart.x, chart.y))
    assert kind == "line" and [point[0] for point in points] == pytest.approx([x["1"], x["2"], x["4"]], abs=0.1)
    assert list(y) == ["1", "10", "100"], "sizes so different need a logarithm"
    assert points[1][1] == pytest.approx(y["1"] + (y["10"] - y["1"]) * math.log10(5), abs=0.1)


def test_runs_of_several_seeds_are_thin_lines_with_their_mean_and_the_band_between_them(tmp_path):
    for seed, values in ((1, (1, 3)), (2, (3, 5))):
        metrics = f"iteration,kimg,loss\n1,1.0,{values[0]}\n2,2.0,{values[1]}\n"
        store_run(tmp_path / str(seed), ["loss=wgan"], seed=seed, metrics=metrics)
    (chart,) = curves.charts(curves.as_series(find(str(tmp_path))))
    paths = {kind: path for kind, _, path in chart.shapes}
    assert [kind for kind, _, _ in chart.shapes] == ["member", "member", "band", "line"]
    y = {label: position for position, label in chart.y}
    mean = [float(point.split()[1]) for point in paths["line"].removeprefix("M").split("L")]
    assert mean == pytest.approx([y["2"], y["4"]], abs=0.1)
    assert paths["band"].count("L") == 3 and paths["band"].endswith("Z")


def test_long_curves_are_thinned_to_their_means():
    points = [(float(i), float(i % 2)) for i in range(10_000)] + [(1e4, math.inf)]
    thinned = curves.thinned(points)
    assert len(thinned) == curves.MOST_POINTS and all(value == 0.5 for _, value in thinned)
    assert curves.thinned(points[:3]) == points[:3]


# ---- the page ---------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a browser would make of it: its elements, and the text that people read."""

    def __init__(self, text: str):
        super().__init__()
        self.elements, self.text, self.open = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img", "wbr", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def read(folder, out) -> Page:
    path, _ = page.write(find(str(folder)), out)
    assert path.is_file() and (out / "compare.md").is_file()
    return Page(path.read_text())


def test_the_page_holds_scores_curves_pictures_and_the_keys_that_differ(sweep, tmp_path):
    for name in ("hinge-1", "wgan-1", "hinge-2"):
        Image.new("L", (8, 8)).save(sweep / name / "samples" / "kimg-0000002.500.png")
    (sweep / "wgan-2" / "samples" / "kimg-0000008.000.png").write_bytes(b"half a picture")
    seen = read(sweep, tmp_path / "out")
    assert not seen.open
    for words in (
        "7 runs side by side",
        "12.0 ± 2.0",
        "2 done, 1 failed, 1 running",
        "generator/adversarial",
        "2.5 kimg",
    ):
        assert words in seen.text
    assert "Seed 1: the same noise, 8 numbers" in seen.text and "Seed 2: the same" not in seen.text
    assert len([tag for tag, _ in seen.elements if tag == "img"]) == 3
    assert page.differing(find(str(sweep))) == {"seed": ["1", "2", "3", "1", "2", "3", "4"]}


def test_nothing_is_loaded_and_what_strangers_wrote_stays_text(tmp_path):
    evil = '"><script>alert(1)</script><img src=http://x/y onerror=alert(1)>'
    protocol = {"extractor": evil, "real_images": evil}
    typed, config = [f"data.path={evil}"], {"data": {"class_names": [evil], evil: 1}}
    table = f'iteration,kimg,"{evil.replace(chr(34), chr(34) * 2)}"\n1,1.0,2.0\n2,2.0,3.0\n'
    both = evaluation(0.0, protocol, **{evil: 1.0}), evaluation(8.0, protocol, **{evil: 2.0})
    store_run(tmp_path / "in" / "<b>", typed, *both, metrics=table, config=config, state=evil, device=evil, error=evil)
    store_run(tmp_path / "in" / "c")
    seen = read(tmp_path / "in", tmp_path / "out")
    assert evil in seen.text
    assert not {tag for tag, _ in seen.elements} & {"script", "img", "link", "iframe", "b"}
    for tag, attributes in seen.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "xlink:href"):
            assert attributes.get(name, "#").startswith(("#", "data:")), tag
    assert "<" not in (tmp_path / "out" / "compare.md").read_text()


def test_a_large_picture_is_shown_smaller(tmp_path):
    folder = store_run(tmp_path / "a") / "samples"
    pixels = np.random.default_rng(0).integers(0, 255, (1200, 1200, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "kimg-0000001.000.png")
    ((_, attributes),) = [each for each in read(tmp_path / "a", tmp_path / "out").elements if each[0] == "img"]
    assert attributes["src"].startswith("data:image/webp") and len(attributes["src"]) < 2_000_000


def test_runs_that_left_little_can_be_compared(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").write_text(f"seed: 1\nloss: {name}\n")
    seen = read(tmp_path, tmp_path / "out")
    assert "unknown" in seen.text and "None of the runs has been scored" in seen.text


# ---- records ----------------------------------------------------------------------------------------------------


def test_runs_are_found_in_folders_sweeps_globs_and_lists_once_each(sweep):
    assert len(find(str(sweep))) == 7
    assert [record.name for record in find([str(sweep / "wgan-*"), str(sweep / "hinge-1"), str(sweep / "wgan-1")])] == [
        "wgan-1", "wgan-2", "wgan-3", "wgan-4", "hinge-1",
    ]  # fmt: skip
    store_run(sweep / "more" / "[x]")
    assert [record.name for record in find(str(sweep / "more" / "[x]"))] == ["[x]"]
    with pytest.raises(UserError, match="run=.*/none: no run is stored there"):
        find([str(sweep), str(sweep / "none")])


def test_the_newest_evaluation_of_images_counts_and_a_study_of_something_else_does_not(tmp_path):
    study = {"iteration": 80, "kimg": 8.0, "scores": {"gain_5": 0.1}, "protocol": {"classifier": "small"}}
    store_run(tmp_path / "a", [], evaluation(fd=2.0), evaluation(fd=1.0), study)
    (record,) = find(str(tmp_path / "a"))
    assert record.scores == {"fd": 1.0} and record.leading_score == "fd"


def test_a_row_that_was_cut_off_is_left_out_and_a_damaged_file_is_named(tmp_path):
    folder = store_run(tmp_path / "a", metrics="iteration,kimg,loss\n1,1.0,2.0\n2,2.0,3.\n3,3.0,-")
    (record,) = find(str(folder))
    assert record.curves == {"loss": [(1.0, 2.0), (2.0, 3.0)]}
    for name, read in {"scores.json": lambda: record.evaluations, "config.yaml": lambda: record.config}.items():
        (folder / name).write_text("{[")
        with pytest.raises(UserError, match=name):
            read()


# ---- the command ------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_real_sweep_is_compared_by_the_command(run, tmp_path):
    small = ["data=ring", "kimg=1", "evaluation.samples=100", "logger=none", "trainer.accelerator=cpu", "model.width=8"]
    run("-m", *small, "loss=wgan,hinge", "seed=1,2", "hydra.sweep.dir=multirun/s", cwd=tmp_path)
    done = run("task=compare", "run=multirun/s", cwd=tmp_path, cold=True)
    assert "loss=wgan" in done.stdout and "2 done" in done.stdout and "reverse_kl ↓" in done.stdout
    (path,) = (tmp_path / "outputs").rglob("compare.html")
    assert str(path) in done.stdout
    seen = Page(path.read_text())
    assert "4 runs side by side" in seen.text and "Seed 2: the same noise" in seen.text
    assert len([tag for tag, _ in seen.elements if tag == "img"]) == 4


@pytest.mark.parametrize("named", ["null", "[]", "[1]"])
def test_what_is_compared_must_be_folders(composed, named):
    from sparring.config.validation import check

    with pytest.raises(UserError, match="task=compare needs folders"):
        check(composed("task=compare", f"run={named}"))
