"""The table of finished runs: who shares a row, and what stands in it. What the benchmarks' figures are of."""

import json
import sys

import pytest

from sparring.benchmarks import cache_build, data, photographs, soak, startup, testbed, timing
from sparring.config.errors import UserError


def a_run(folder, overrides, **scores):
    folder.mkdir(parents=True)
    (folder / "overrides.yaml").write_text(json.dumps(overrides) + "\n")
    earlier = {"iteration": 0, "scores": dict.fromkeys(scores, 0.0)}
    (folder / "scores.json").write_text(json.dumps([earlier, {"iteration": 1500, "scores": scores}]))


def test_runs_that_differ_in_the_seed_alone_share_a_row_of_means_and_deviations(tmp_path, capsys):
    for seed, modes, quality in ((0, 8, 0.98), (1, 7, 0.96), (2, 6, 0.97)):
        overrides = ["experiment=testbed/ring_gan", f"seed={seed}", "logger=none"]
        a_run(tmp_path / "a" / str(seed), overrides, modes_recovered=modes, high_quality=quality, reverse_kl=0.01)
    a_run(tmp_path / "b" / "0", ["experiment=testbed/ring_pacgan2", "seed=0"], modes_recovered=8, reverse_kl=0.25)
    testbed.run(None, tmp_path, of=str(tmp_path / "*"))
    expected = """\
| run | seeds | iterations | modes_recovered | high_quality | reverse_kl |
|---|---|---|---|---|---|
| experiment-testbed-ring_gan | 3 | 1,500 | 7.0 ± 1.0 | 97.0% ± 1.0% | 0.0100 ± 0.0000 |
| experiment-testbed-ring_pacgan2 | 1 | 1,500 | 8.0 |  | 0.2500 |
"""
    assert (tmp_path / "table.md").read_text() == expected
    assert capsys.readouterr().out.strip() == expected.strip()


def test_a_folder_without_scores_is_refused(tmp_path):
    with pytest.raises(UserError, match="benchmark.of=.*no scored run"):
        testbed.run(None, tmp_path, of=[str(tmp_path)])


def test_ways_take_turns_and_neither_what_they_get_ready_nor_the_first_round_counts(monkeypatch):
    told, clock = [], [0.0]
    monkeypatch.setattr(timing, "now", lambda device: clock[0])

    def way(name, pieces):
        def do():
            told.append(name)
            clock[0] += len(told)
            return pieces

        def ready():
            clock[0] += 100
            return do

        return ready

    assert timing.in_turns({"a": way("a", 1), "b": way("b", 10)}, rounds=2) == {"a": [3, 5], "b": [0.4, 0.6]}
    assert told == ["a", "b"] * 3


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
    entry = json.loads(cache_build.in_a_process(pictures, tmp_path, 7, cores=1))
    assert entry["images"] == 7 and entry["cores"] == 1 and entry["seconds"] > 0
    assert 2**25 < entry["before"] <= entry["peak"] < 2**33


def test_a_command_is_timed_until_its_file_is_there_and_the_next_waits_for_its_end(tmp_path):
    commands = startup._Commands(tmp_path)
    write = f"import pathlib, time; p = pathlib.Path({str(tmp_path)!r}); (p / 'mark').touch(); time.sleep(0.3); (p / 'end').touch()"
    commands.ready("-c", write, until=tmp_path / "mark")()
    assert not (tmp_path / "end").exists()
    commands.ready("-c", "pass")
    assert (tmp_path / "end").exists()


def test_a_command_that_fails_is_told_with_what_it_said(tmp_path):
    commands = startup._Commands(tmp_path)
    commands.ready("-c", "raise SystemExit('no such model')", until=tmp_path / "never")()
    with pytest.raises(UserError, match=f"{sys.executable} -c .* failed:\\nno such model"):
        commands.end()


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


def test_growth_is_that_of_medians_from_the_second_tenth_of_what_was_done_to_the_last_one():
    samples = [
        {"done": done, "MiB": 500.0 if done < 10 else 100 + done / 10} for done in range(1, 101)
    ]  # a start that does not count
    samples[95]["MiB"] = 9000.0  # nor does a moment
    assert soak.growth(samples, "MiB") == pytest.approx(109.5 / 101.5 - 1)
