"""What the benchmarks time, in which order, and what they record."""

import json
import sys

import pytest

from sparring.benchmarks import cache_build, data, photographs, soak, startup, testbed, timing
from sparring.config.errors import UserError
from stored_runs import evaluation, store_run


def test_runs_that_differ_in_the_seed_alone_share_a_row_of_means_and_deviations(tmp_path, capsys):
    for seed, modes in enumerate((8, 7, 6)):
        entry = evaluation(modes_recovered=modes, high_quality=0.5, reverse_kl=0.01, fd=1.0)
        store_run(tmp_path / "a" / str(seed), ["experiment=testbed/ring_gan", "logger=none"], entry, seed=seed)
    one = evaluation(modes_recovered=8, reverse_kl=0.25)
    store_run(tmp_path / "b" / "0", ["experiment=testbed/ring_pacgan2"], one)
    testbed.run(None, tmp_path, of=str(tmp_path / "*"))
    table = (tmp_path / "table.md").read_text()
    assert capsys.readouterr().out.strip() == table.strip()
    heading, _, first, second = (line.strip("|").split("|") for line in table.splitlines() if line.startswith("|"))
    names = ["what was varied", "state", "seeds", "modes_recovered ↑", "reverse_kl ↓", "high_quality ↑"]
    assert [cell.strip() for cell in heading] == names
    rows = {cells[0].strip(): [cell.strip(" *") for cell in cells[2:]] for cells in (first, second)}
    assert rows["experiment=testbed/ring_gan"] == ["3", "7.0 ± 1.0", "0.01 ± 0", "0.5 ± 0"]
    assert rows["experiment=testbed/ring_pacgan2"] == ["1", "8", "0.25", ""]


def test_a_folder_without_runs_is_refused(tmp_path):
    with pytest.raises(UserError, match="benchmark.of=.*no run is stored there"):
        testbed.run(None, tmp_path, of=[str(tmp_path)])


def test_ways_take_turns_and_the_first_round_does_not_count():
    calls = []

    def way(name):
        calls.append(name)
        return float(len(calls))

    ways = {"a": lambda: way("a"), "b": lambda: way("b")}
    assert timing.in_turns(ways, rounds=2) == {"a": [3.0, 5.0], "b": [4.0, 6.0]} and calls == ["a", "b"] * 3


def test_reading_is_timed_in_every_state_and_size(composed, tmp_path, capsys):
    data.run(composed(), tmp_path, [8, 16], batch_size=4, workers=1, files=9, seconds=0.02, rounds=2, cache_images=0)
    found = json.loads((tmp_path / "benchmark.json").read_text())
    assert found["machine"]["cores"] and found["reading"].keys() == {"8", "16"}
    for states in found["reading"].values():
        assert states.keys() == {"first", "cold", "warm"}
        for entry in states.values():
            bytes_, floats, loader = entry["images_per_second"].values()
            assert len(bytes_) == len(floats) == len(loader) == 2
            assert entry["ratios"] == {
                data.BYTES: pytest.approx([a / b for a, b in zip(bytes_, loader, strict=True)]),
                data.FLOATS: pytest.approx([a / b for a, b in zip(floats, loader, strict=True)]),
            }
    assert "16 pixels, batch 4, the first epoch, for which the cache is built" in capsys.readouterr().out


def test_fewer_photographs_than_a_batch_takes_are_refused(composed, tmp_path):
    with pytest.raises(UserError, match=r"benchmark\.files=3: must be at least benchmark\.batch_size=4"):
        data.run(composed(), tmp_path, [8], batch_size=4, files=3)


def test_a_cache_of_links_is_built_in_a_process_whose_memory_is_told(composed, tmp_path, capsys):
    pictures = photographs.write(composed(), tmp_path / "pictures", 3)
    entry = cache_build.build_in_process(pictures, tmp_path, 7, cores=1)
    assert entry["images"] == 7 and entry["cores"] == 1 and entry["seconds"] > 0
    assert 2**25 < entry["before"] <= entry["peak"] < 2**33


def test_a_command_is_timed_until_its_file_is_there_and_has_ended_then(tmp_path):
    mark, end = tmp_path / "run" / "mark", tmp_path / "end"
    write = f"import time; from pathlib import Path; p = Path({str(mark)!r}); p.parent.mkdir(); p.touch(); "
    mark.parent.mkdir()  # of an earlier round
    seconds = startup.seconds_until(["-c", f"{write}time.sleep(1); Path({str(end)!r}).touch()"], mark)
    assert end.exists() and 0 < seconds < 1
    assert startup.seconds_until(["-c", "pass"]) > 0


def test_a_command_that_fails_is_reported_with_its_output(tmp_path):
    with pytest.raises(UserError, match=f"{sys.executable} -c .* failed:\nno such model"):
        startup.seconds_until(["-c", "raise SystemExit('no such model')"], tmp_path / "run" / "never")


def test_the_engine_is_timed_beside_both_loops(run, tmp_path):
    small = [
        "benchmark.rounds=2",
        "benchmark.seconds=.01",
        "benchmark.files=40",
        "benchmark.workers=1",
        "model.width=8",
    ]
    only = "benchmark.only=[MLP 28 pixels, batch 128, fakes used]"
    done = run("task=benchmark", "benchmark=training", only.replace(", ", "\\, "), *small, cwd=tmp_path)
    (path,) = tmp_path.glob("outputs/*/*/benchmark.json")
    found = json.loads(path.read_text())
    (entry,) = found["training"]
    assert entry["workload"].startswith("MLP 28 pixels") and entry["flops"] > 0 and entry["peak_flops"] > 0
    engine, *loops = entry["images_per_second"].values()
    assert len(engine) == 2 and all(len(loop) == 2 for loop in loops) and len(loops) == 2
    for loop, ratios in zip(loops, entry["ratios"].values(), strict=True):
        assert ratios == pytest.approx([a / b for a, b in zip(engine, loop, strict=True)])
    assert found["machine"]["packages"]["torch"] and found["machine"]["cores"] >= 1
    assert "loop, batches in memory" in done.stdout


def test_a_workload_that_is_not_there_is_refused_with_those_that_are(run, tmp_path):
    done = run("task=benchmark", "benchmark=training", "benchmark.only=[nothing]", cwd=tmp_path, check=False)
    assert done.returncode == 1 and "benchmark.only=['nothing']" in done.stderr and "MLP 28 pixels" in done.stderr


def test_growth_is_that_of_medians_from_the_second_tenth_to_the_last_one():
    values = [(done, 500.0 if done < 10 else 100 + done / 10) for done in range(1, 101)]  # a start that does not count
    values[95] = (96, 9000.0)  # nor does a moment
    assert soak.growth(values) == pytest.approx(109.5 / 101.5 - 1)
