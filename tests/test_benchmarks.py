"""The table of finished runs: who shares a row, and what stands in it."""

import json

import pytest

from sparring.benchmarks import testbed
from sparring.errors import UserError


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
