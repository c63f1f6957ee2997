"""Sweeps by other launchers: several jobs at a time here, and on SLURM, which scripts imitate."""

import json
import os
import sys

import pytest
import torch

SMALL = ["data.batch_size=16", "logger=none", "evaluation=none", "model.width=8", "trainer.max_steps=3", "kimg=0.096"]
SWEEP = ["-m", "seed=1,2", *SMALL]

# sbatch starts the jobs of a script as SLURM does, with their place in the array, and returns at once.
SBATCH = """#!{python}
import os, re, subprocess, sys
text = open(sys.argv[-1]).read()
open("script.sh", "w").write(text)
if os.environ.get("CLUSTER") == "down":
    sys.exit("sbatch: error: Unable to contact slurm controller")
array = re.search(r"--array=0-(\\d+)%", text)
cpus = re.search(r"--cpus-per-task=(\\d+)", text)[1]
for i in range(int(array[1]) + 1 if array else 1):
    place = {{"SLURM_JOB_ID": str(70 + i), "SLURM_CPUS_PER_TASK": cpus, "SLURM_JOB_NUM_NODES": "1"}}
    place |= {{"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(i)}} if array else {{}}
    log = open(f"slurm-{{i}}.log", "w")
    subprocess.Popen(["bash", sys.argv[-1]], env=os.environ | place, stdout=log, stderr=log, start_new_session=True)
print("Submitted batch job", 7 if array else 70)
"""
# srun starts a step of one task, which is all that the presets ask for
SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do case $1 in --output|--error) shift 2;; *) shift;; esac; done
echo "CPUs handed on: $SRUN_CPUS_PER_TASK"
export SLURM_STEP_ID=0 SLURM_STEP_NUM_TASKS=1 SLURM_STEP_NUM_NODES=1
SLURM_NTASKS=1 SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_NODEID=0 exec "$@"
"""
SACCT = "#!/bin/bash\necho 'JobID|State|NodeList'\n"


@pytest.fixture
def cluster(tmp_path):
    """The environment of a login node; with CLUSTER=down its controller does not answer."""
    (tmp_path / "bin").mkdir()
    scripts = {"sbatch": SBATCH.format(python=sys.executable), "srun": SRUN, "sacct": SACCT}
    for name, text in scripts.items():
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return {"PATH": f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"}


def runs_of(folder) -> dict[str, dict]:
    """The status of each run of the only sweep in a folder."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("multirun/*/*/*/status.json")}


def weights(folder, name: str) -> dict[str, torch.Tensor]:
    (path,) = folder.glob(f"multirun/*/*/{name}/checkpoints/last.ckpt")
    return torch.load(path, weights_only=True)["state_dict"]


def assert_done(folder, ranks: int) -> None:
    states = runs_of(folder)
    assert sorted(states) == ["seed-1", "seed-2"], "one run a job"
    for said in states.values():
        assert (said["state"], said["ranks"], said["iteration"]) == ("done", ranks, 3)


@pytest.fixture(scope="module")
def alone(run, tmp_path_factory):
    """The weights of one of the jobs, run alone."""
    folder = tmp_path_factory.mktemp("alone")
    run("-m", "seed=2", *SMALL, "trainer=cpu", cwd=folder)
    (name,) = runs_of(folder)
    return weights(folder, name)


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["submitit_local", "joblib"])
def test_jobs_in_parallel_make_the_weights_of_a_job_alone(run, tmp_path, launcher, alone):
    run(*SWEEP, "trainer=cpu", f"hydra/launcher={launcher}", cwd=tmp_path, cold=True)
    assert_done(tmp_path, ranks=1)
    made = weights(tmp_path, "seed-2")
    assert all(torch.equal(value, made[name]) for name, value in alone.items())


@pytest.mark.slow
def test_jobs_in_parallel_start_their_own_ranks(run, tmp_path):
    run(*SWEEP, "trainer=ddp_cpu", "trainer.devices=2", "hydra/launcher=joblib", cwd=tmp_path)
    assert_done(tmp_path, ranks=2)


@pytest.mark.slow
def test_on_slurm_a_job_is_one_task_which_starts_its_own_ranks(run, tmp_path, cluster):
    run(*SWEEP, "trainer=ddp_cpu", "trainer.devices=2", "hydra/launcher=slurm_ddp", cwd=tmp_path, **cluster)
    assert_done(tmp_path, ranks=2)
    for i in range(2):
        assert "CPUs handed on: 64" in (tmp_path / f"slurm-{i}.log").read_text()


@pytest.mark.parametrize(
    ("preset", "cpus", "gpus"),
    [("slurm_cpu", 8, None), ("slurm_gpu", 8, 1), ("slurm_ddp", 64, 8)],
    ids=lambda x: str(x),
)
def test_each_preset_asks_slurm_for_its_kind_of_job(run, tmp_path, cluster, preset, cpus, gpus):
    options = [f"hydra/launcher={preset}", "hydra.launcher.partition=fast", "hydra.launcher.timeout_min=30"]
    done = run(*SWEEP, *options, cwd=tmp_path, check=False, CLUSTER="down", **cluster)
    assert done.returncode != 0 and "Unable to contact slurm controller" in done.stderr
    asked = dict(
        line.removeprefix("#SBATCH --").split("=", 1)
        for line in (tmp_path / "script.sh").read_text().splitlines()
        if line.startswith("#SBATCH") and "=" in line
    )
    said = {"nodes": "1", "ntasks-per-node": "1", "cpus-per-task": str(cpus), "partition": "fast", "time": "30"}
    assert asked | said == asked and asked["array"].startswith("0-1%")
    assert asked.get("gpus-per-node") == (gpus and str(gpus))
    assert ("OMP_NUM_THREADS" in (tmp_path / "script.sh").read_text()) == (preset != "slurm_ddp")
