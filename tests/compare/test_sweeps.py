"""Sweeps as a person starts them: names, failures, going on, tables, W&B's groups, and searches."""

import csv
import json
import os
import re
import signal
import time
from pathlib import Path

import optuna
import pytest
import torch
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages.journal import JournalFileBackend, JournalStorage

from commands import begin
from sparring.cli import prepare
from sparring.compare import search_space, sweep_folders, sweep_jobs
from sparring.config.errors import UserError
from sparring.config.resolvers import folder_name
from watching import read_wandb

TINY = ["model=mlp", "model.width=8", "model.discriminator.dropout=0.0", "data.subset=200", "data.batch_size=16"]
SCORED = ["evaluation.samples=60", "evaluation.samples_during=60", "evaluation.reals=100", "grid.count=4"]
SHORT = [*TINY, *SCORED, "trainer.max_steps=20", "trainer.log_every_n_steps=10"]


def states(sweep: Path) -> dict[str, str]:
    return {p.parent.name: json.loads(p.read_text())["state"] for p in sorted(sweep.glob("*/status.json"))}


def times(sweep: Path) -> dict[str, int]:
    """When the weights of each run were written."""
    return {p.parents[1].name: p.stat().st_mtime_ns for p in sweep.glob("*/checkpoints/last.ckpt")}


# ---- names ------------------------------------------------------------------------------------------------------


def test_jobs_are_named_by_what_varies_in_names_that_can_be_typed():
    assert (
        folder_name(["loss=hinge", "+seed=1", "kimg=8", "sweep.name=x", "hydra.x=1"], ["kimg"]) == "loss-hinge_seed-1"
    )
    assert folder_name(["regularizer=[r1,r2]"]) == "regularizer-r1-r2"
    assert folder_name([]) == folder_name(["trainer.devices=2", "logger=none"]) == "default", (
        "where it runs is no part of it"
    )
    assert folder_name(["trainer.precision=64-true", "kimg=8"], ["kimg"]) == "trainer.precision-64-true", (
        "unless it varies"
    )
    assert folder_name(["lr=1e+3"]) == "lr-1e3" != folder_name(["lr=1e-3"])
    many = [f"optimizer.generator.weight_of_term_{i}=0.25" for i in range(3)]
    assert folder_name(many) == "_".join(f"generator.weight_of_term_{i}-0.25" for i in range(3)), (
        "short while it can be"
    )
    more = [f"some.very.long_key_of_a_model_that_goes_on_{i}=1" for i in range(5)]
    names = {folder_name(more), folder_name([*more[:-1], more[-1][:-1] + "2"])}
    assert len(names) == 2 and all(len(name) <= 120 for name in names), "never the same for two jobs"


def test_what_is_the_same_in_all_jobs_is_no_part_of_their_names():
    told = prepare(["-m", "loss=hinge,wgan", "kimg=8", "seed=range(3)", "model=mlp"])
    assert told[-1] == "hydra.job.config.override_dirname.exclude_keys=[kimg,model]"
    search = prepare(["-m", "sweep=optuna", "kimg=8"])
    assert search[-1] == "hydra.job.config.override_dirname.exclude_keys=[sweep,kimg]"
    for unchanged in (["loss=hinge"], ["-m", "loss=hinge"], ["-m", "loss=a,b"], ["-m", "loss=["]):
        assert prepare(unchanged)[: len(unchanged)] == unchanged


def test_a_job_finds_its_folder_again_whatever_else_the_sweep_holds(tmp_path):
    def begun(*overrides: str, besides=()) -> str:
        name = sweep_folders.job_folder(str(tmp_path), list(overrides), list(besides))
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "overrides.yaml").write_text(json.dumps(overrides))
        return name

    assert begun("loss=hinge", "seed=1", "kimg=8", besides=["kimg"]) == "loss-hinge_seed-1"
    assert begun("kimg=8", "seed=1", "loss=hinge", besides=["kimg", "loss"]) == "loss-hinge_seed-1", "fewer vary"
    assert begun("loss=hinge", "seed=1", "kimg=16", besides=["kimg"]) == "loss-hinge_seed-1", "which goes on"
    told = ["loss=hinge", "seed=1", "trainer=cpu", "logger=none"]
    assert begun(*told, besides=["trainer", "logger"]) == "loss-hinge_seed-1", "on another machine"
    assert begun("loss=hinge", "seed=1", "kimg=32") == "loss-hinge_seed-1_kimg-32", "lengths are compared"
    assert begun("loss=hinge", "seed=1", "kimg=8", "n_dis=2", besides=["kimg", "n_dis"]) == "loss-hinge_seed-1-2"
    assert begun("loss=hinge", "seed=2", "kimg=8", "sweep.skip_done=true", besides=["kimg"]) == "loss-hinge_seed-2"


def test_a_name_that_is_taken_is_refused_before_anything_starts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "multirun" / "x" / "loss-hinge").mkdir(parents=True)
    (tmp_path / "multirun" / "x" / "loss-hinge" / "status.json").write_text("{}")
    with pytest.raises(UserError, match="sweep.name=x: multirun/x holds runs already. sweep.skip_done=true"):
        prepare(["-m", "loss=hinge,wgan", "sweep.name=x"])
    prepare(["-m", "loss=hinge,wgan", "sweep.name=x", "sweep.skip_done=true"])
    prepare(["-m", "loss=hinge,wgan", "sweep.name=y"])


@pytest.mark.parametrize("name", ["../outside", "/tmp/outside", "a/../../b"])
def test_no_name_leads_out_of_the_folder_of_sweeps(name):
    with pytest.raises(UserError, match="must be the name of a folder under multirun/"):
        prepare(["-m", "loss=hinge,wgan", f"sweep.name={name}"])


def test_jobs_that_share_several_gpus_have_one_each(monkeypatch):
    for number, seen in ((0, "4"), (1, "6"), (2, "7"), (3, "4")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6,7")
        sweep_jobs.assign_gpu(number)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen
        sweep_jobs.assign_gpu(number + 1)
        assert os.environ["CUDA_VISIBLE_DEVICES"] == seen, "a process that has begun on one stays on it"


# ---- a grid -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def grid(run, tmp_path_factory) -> Path:
    """A sweep of two losses and three lengths of turn, of which one is no length."""
    folder = tmp_path_factory.mktemp("grid")
    done = run(
        "-m", "loss=hinge,lsgan", "seed=1,2", "n_dis=1,0", *SHORT, "sweep.name=x", cwd=folder, check=False, cold=True
    )
    (folder / "said").write_text(done.stdout + done.stderr)
    (folder / "status").write_text(str(done.returncode))
    return folder


@pytest.mark.slow
def test_a_job_that_fails_is_told_and_the_others_go_on(grid):
    found = states(grid / "multirun" / "x")
    assert found == {
        f"loss-{loss}_seed-{seed}_n_dis-{n}": "done" if n else "failed"
        for loss in ("hinge", "lsgan")
        for seed in (1, 2)
        for n in (0, 1)
    }
    said = (grid / "said").read_text()
    assert "loss-hinge_seed-1_n_dis-0 failed:\nn_dis=0: must be at least 1" in said and "Traceback" not in said
    assert (grid / "status").read_text() == "1"


@pytest.mark.slow
def test_at_the_end_stand_mean_and_deviation_over_the_seeds_best_first(grid):
    sweep = grid / "multirun" / "x"
    rows = list(csv.DictReader((sweep / "table.csv").read_text().splitlines()))
    assert {row["name"] for row in rows} == {f"loss={a} n_dis={n}" for a in ("hinge", "lsgan") for n in (0, 1)}
    scored = [row for row in rows if row["fd_classifier_mean"]]
    values = [float(row["fd_classifier_mean"]) for row in scored]
    assert len(scored) == 2 and rows[:2] == scored and values == sorted(values)
    for row in scored:
        loss = row["name"].split()[0].replace("=", "-")
        of = [
            json.loads((sweep / f"{loss}_seed-{s}_n_dis-1" / "scores.json").read_text())[-1]["scores"] for s in (1, 2)
        ]
        own = torch.tensor([scores["fd_classifier"] for scores in of], dtype=torch.float64)
        assert float(row["fd_classifier_mean"]) == pytest.approx(own.mean().item(), rel=1e-4)
        assert float(row["fd_classifier_sd"]) == pytest.approx(own.std().item(), rel=1e-3)
    text = (sweep / "table.md").read_text()
    assert "1 done" not in text and "2 failed" in text and "loss-hinge_seed-1_n_dis-0: n_dis=0" in text
    assert "| loss=hinge n_dis=1 | 2 done" in (grid / "said").read_text()


@pytest.mark.slow
def test_jobs_are_a_group_of_wandb_and_the_table_is_in_it(grid):
    sweep = grid / "multirun" / "x"
    for folder in (sweep / "loss-hinge_seed-1_n_dis-1", sweep / "loss-lsgan_seed-2_n_dis-1"):
        text = json.dumps(read_wandb(folder))
        assert '"run_group": "x"' in text.replace("\\", "") and folder.name in text
    (media,) = sweep.glob("wandb/offline-run-*/files/media/table/sweep*.json")
    assert json.loads(media.read_text())["columns"][0] == "name"


@pytest.mark.slow
def test_a_second_time_only_what_is_missing_is_done(grid, run):
    sweep = grid / "multirun" / "x"
    before = times(sweep)
    wanted = ["-m", "loss=hinge,lsgan", "seed=1,2,3", "n_dis=1", *SHORT, "sweep.name=x", "sweep.skip_done=true"]
    refused = run(*wanted[:-1], cwd=grid, check=False)
    assert refused.returncode == 1 and "multirun/x holds runs already" in refused.stderr
    done = run("-m", "loss=hinge", "seed=1,2,3", "n_dis=1,0", *wanted[4:], cwd=grid, check=False)
    assert done.stdout.count("done already") + done.stderr.count("done already") == 2
    after = times(sweep)
    assert {name: after[name] for name in before} == before and after.keys() - before.keys() == {"seed-3_n_dis-1"}


@pytest.mark.slow
def test_a_job_that_was_cut_off_goes_on_where_it_was(run, tmp_path):
    command = ["-m", "loss=hinge,lsgan", "seed=1", *TINY, "evaluation=none", "logger=none", "grid.count=4"]
    command += ["sweep.name=x", "trainer.precision=64-true", "checkpoint.every_kimg=0.8"]
    long = begin(*command, "kimg=8", cwd=tmp_path)
    sweep, deadline = tmp_path / "multirun" / "x", time.monotonic() + 120
    while "loss-lsgan" not in times(sweep):
        assert long.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    long.send_signal(signal.SIGKILL)
    long.communicate()
    assert states(sweep) == {"loss-hinge": "done", "loss-lsgan": "running"}
    first = times(sweep)["loss-hinge"]
    done = run(*command, "sweep.skip_done=true", "kimg=8", cwd=tmp_path)
    assert "resuming at" in done.stdout + done.stderr
    assert set(states(sweep).values()) == {"done"} and times(sweep)["loss-hinge"] == first

    run(*command, "sweep.skip_done=true", "kimg=9", cwd=tmp_path)  # longer: each goes on
    assert len(states(sweep)) == 2
    assert {json.loads(p.read_text())["kimg"] for p in sweep.glob("*/status.json")} == {9.008}


# ---- a search ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("interval(1,3)", FloatDistribution(1, 3)),
        ("tag(log,interval(1e-4,1e-2))", FloatDistribution(1e-4, 1e-2, log=True)),
        ("int(interval(1,3))", IntDistribution(1, 3)),
        ("range(0,10,3)", IntDistribution(0, 9, step=3)),
        ("range(1,4)", IntDistribution(1, 3)),
        ("tag(log,range(1,101))", IntDistribution(1, 100, log=True)),
        ("choice([0.0,0.99],[0.5,0.999])", CategoricalDistribution(["[0.0,0.99]", "[0.5,0.999]"])),
        ("hinge,wgan", CategoricalDistribution(["hinge", "wgan"])),
    ],
)
def test_ranges_mean_what_hydra_means_by_them(typed, expected):
    (override,) = OverridesParser.create().parse_overrides([f"key={typed}"])
    assert search_space.distribution(override) == expected


@pytest.mark.parametrize("typed", ["interval(0.1,0.01)", "tag(log,interval(0,1))", "range(3,3)"])
def test_an_empty_range_is_refused_by_name(typed):
    (override,) = OverridesParser.create().parse_overrides([f"key={typed}"])
    with pytest.raises(UserError, match="^key="):
        search_space.distribution(override)


@pytest.mark.parametrize("key", ["trials", "parallel"])
def test_a_search_of_no_trials_is_refused_and_does_not_hang(run, tmp_path, key):
    refused = run("-m", "sweep=optuna", f"sweep.{key}=0", "logger=none", cwd=tmp_path, check=False)
    assert refused.returncode == 1 and f"sweep.{key}=0: must be at least 1" in refused.stderr


def test_a_score_that_there_is_not_is_told_with_those_that_there_are(tmp_path):
    (tmp_path / "status.json").write_text('{"state": "done"}')
    entry = {"iteration": 1, "kimg": 1.0, "scores": {"fid": 3.0, "recall": 0.5}, "lower_is_better": ["fid"]}
    counts = dict.fromkeys(("samples", "reals", "reals_available"), 50)
    entry["protocol"] = {"extractor": "x", "fakes": "a", "real_images": "b", "metrics": {}} | counts
    (tmp_path / "scores.json").write_text(json.dumps([entry]))
    assert search_space.score_of(tmp_path) == 3.0 and search_space.score_of(tmp_path, "recall") == 0.5
    with pytest.raises(UserError, match="sweep.score=nosuch: the scores are fid, recall"):
        search_space.score_of(tmp_path, "nosuch")
    (tmp_path / "status.json").write_text('{"state": "failed"}')
    assert search_space.score_of(tmp_path) is None


def study(sweep: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(sweep / "study.log")))
    return optuna.load_study(study_name=sweep.name, storage=storage)


@pytest.mark.slow
def test_a_search_outlives_a_failing_trial_and_is_gone_on_with(run, tmp_path):
    command = ["-m", "sweep=optuna", "sweep.name=x", "sweep.seed=3", "n_dis=choice(0,1)", *SHORT, "logger=none"]
    done = run(*command, "sweep.trials=4", cwd=tmp_path, check=False, cold=True)
    sweep = tmp_path / "multirun" / "x"
    before = study(sweep).trials
    kinds = {t.params["n_dis"]: t.state.name for t in before}
    assert len(before) == 4 and kinds == {"0": "FAIL", "1": "COMPLETE"}, done.stdout + done.stderr
    assert done.returncode == 1 and "best of 4 trials" in done.stdout + done.stderr
    for trial in before:
        assert 5e-5 <= trial.params["optimizer.generator.lr"] <= 2e-3
        assert 0.01 <= trial.params["regularizer.r1.weight"] <= 10
    kept = times(sweep)
    for wrong, message in (
        ("n_dis=choice(0,1,2)", "n_dis=choice.*this study chose from others"),
        ("evaluation=none", "no score to search by"),
        ("regularizer=[r2]", "regularizer.r1.weight.*of sweep.space"),
    ):
        dropped = (wrong.partition("=")[0] + "=", *["evaluation."] * (wrong == "evaluation=none"))
        told = [override for override in command if not override.startswith(dropped)]
        refused = run(*told, wrong, "sweep.trials=5", "sweep.skip_done=true", cwd=tmp_path, check=False)
        assert refused.returncode == 1 and re.search(message, refused.stderr.replace("\n", " ")), refused.stderr
    run(*command, "sweep.trials=5", "sweep.skip_done=true", cwd=tmp_path, check=False)
    after = study(sweep).trials
    assert len(after) == 5 and [t.params for t in after[:4]] == [t.params for t in before]
    assert kept.items() <= times(sweep).items()


@pytest.mark.slow
def test_all_ranks_of_a_trial_have_its_overrides(run, tmp_path):
    """Two ranks of a search without a seed make the weights that one rank makes of what the trial's folder says."""
    common = [*TINY, "trainer.precision=64-true", "trainer.max_steps=20", *SCORED, "logger=none"]
    run("-m", "sweep=optuna", "sweep.trials=2", "sweep.name=x", "trainer=ddp_cpu", *common, cwd=tmp_path, check=False)
    folders = sorted((tmp_path / "multirun" / "x").glob("*/"))
    assert len(folders) == 2 and set(states(tmp_path / "multirun" / "x").values()) == {"done"}
    typed = json.loads((folders[0] / "overrides.yaml").read_text())
    alone = [o for o in typed if not o.startswith(("sweep", "trainer=", "data.batch_size"))]
    run(*alone, "regularizer=[r1]", "data.batch_size=32", "hydra.run.dir=one", cwd=tmp_path)
    stored = [folder / "checkpoints" / "last.ckpt" for folder in (folders[0], tmp_path / "one")]
    weights = [torch.load(path, weights_only=True)["state_dict"] for path in stored]
    assert max(float((weights[0][name] - weights[1][name]).abs().max()) for name in weights[0]) < 1e-10
