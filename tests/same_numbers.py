"""Record what a set of commands gives, and compare two records: has a change to the code changed a number?

    python tests/same_numbers.py record OUT CHECKOUT [NAME ...]   run all commands, or those of these names
    python tests/same_numbers.py compare BEFORE AFTER             list what differs; exit with 1 if anything does

Weights, scores, logged rows, pictures and exported generators are compared bit for bit, on one thread.
"""

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

SMALL = ["logger=none", "evaluation.samples=200", "evaluation.samples_during=200", "grid.count=16"]
NO_SCORES = ["logger=none", "evaluation=none", "grid.count=16"]
STEPS = "trainer.max_steps=3"
COMMANDS = {
    "default": [],
    "speedrun": ["experiment=speedrun/mnist_mini", STEPS, *SMALL],
    "inpainting": ["experiment=inpainting_digits", STEPS, "logger=none", "grid.count=16"],
    "clips": ["experiment=moving_digits", STEPS, *SMALL],
    "text": ["experiment=text_likelihood", STEPS, "logger=none", "evaluation.samples=200"],
    "gumbel": ["experiment=text_gumbel", "init=text", STEPS, "logger=none", "evaluation.samples=200"],
    "voxels": ["experiment=voxel_solids", STEPS, *SMALL, "data.count=600", "data.held_out=100"],
    "sounds": ["experiment=wavegan_tones", STEPS, *SMALL, "data.count=600", "data.held_out=100"],
    "ring": ["experiment=testbed/ring_gan", "trainer.max_steps=20", "logger=none"],
    "infogan": ["experiment=testbed/grid_infogan", "trainer.max_steps=20", "logger=none"],
    "dirac": ["experiment=testbed/dirac", "trainer.max_steps=20", "logger=none"],
    "stylegan2": ["model=stylegan2", "model.width=8", "augment=ada", "regularizer=[r1,path_length]", STEPS, *NO_SCORES],
    "biggan": ["model=biggan", "model.width=8", "loss=hinge", "n_dis=2", "data.batch_size=16", STEPS, *NO_SCORES],
    "r3gan": ["model=r3gan", "model.width=16", "data.batch_size=16", STEPS, *NO_SCORES],
    "penalties": ["regularizer=[gradient_penalty,lecam,consistency,mode_seeking]", "model.width=16", STEPS, *NO_SCORES],
    "relativistic": ["loss=relativistic", "augment=diffaugment", "accumulate=2", "model.width=16", STEPS, *NO_SCORES],
    "vae_gan": ["model=vae_gan", "model.width=16", STEPS, *SMALL],
    "acgan": ["model=acgan", "model.width=16", "evaluation.metrics.prdc.samples=150", STEPS, *SMALL],
    "resume": ["resume=speedrun", "trainer.max_steps=6"],
    "ranks": ["trainer=ddp_cpu", "trainer.devices=2", "model.width=16", STEPS, *SMALL],
    "evaluate": ["task=evaluate", "run=default", "evaluation.samples=1000", "evaluation.seeds=2"],
    "sweep": ["-m", "loss=hinge,wgan", "seed=1,2", "sweep.name=sweep", "model.width=8", STEPS, *SMALL],
    "sample": ["task=sample", "run=default", "sample.seed=3", "sample.folder=sample"],
    "traversal": ["task=sample", "run=default", "sample.kind=directions", "sample.folder=traversal"],
    "export": ["task=export", "run=default", "export.file=default.safetensors"],
}  # fmt: skip
OWN_FOLDER = ("resume", "evaluate", "sweep", "sample", "traversal", "export")  # where they write is said, or follows
TIMES = {"images_per_second", "seconds"}


def record(out: Path, checkout: Path, names: list[str]) -> None:
    """Run the commands in ``out`` and write ``record.json`` there."""
    out.mkdir(parents=True)
    cache = ["cache=cache"]
    environment = {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1", "WANDB_MODE": "offline"}
    for name in names or COMMANDS:
        folder = [] if name in OWN_FOLDER else [f"hydra.run.dir={name}"]
        command = [sys.executable, str(checkout / "run.py"), *COMMANDS[name], *folder, *cache]
        done = subprocess.run(command, cwd=out, env=os.environ | environment, capture_output=True, text=True)
        print(name, "ok" if done.returncode == 0 else f"FAILED\n{done.stdout[-2000:]}{done.stderr[-3000:]}", flush=True)
    found = {str(path.relative_to(out)): value for path in sorted(out.rglob("*")) if (value := _content(path, out))}
    (out / "record.json").write_text(json.dumps(found, indent=1))


def _content(path: Path, out: Path) -> object:
    if {"cache", "wandb"} & set(path.relative_to(out).parts) or not path.is_file():
        return None
    if path.suffix == ".ckpt":
        import torch

        stored = torch.load(path, weights_only=True, map_location="cpu")
        return {name: _digest(tensor.numpy().tobytes()) for name, tensor in stored["state_dict"].items()}
    if path.suffix == ".safetensors":
        from safetensors.torch import load_file

        return {name: _digest(tensor.numpy().tobytes()) for name, tensor in load_file(path).items()}
    if path.name == "scores.json":
        return [
            {key: value for key, value in entry.items() if key not in TIMES} for entry in json.loads(path.read_text())
        ]
    if path.name == "metrics.csv":
        with open(path, newline="") as file:
            return [{key: value for key, value in row.items() if key not in TIMES} for row in csv.DictReader(file)]
    return _digest(path.read_bytes()) if path.suffix in (".png", ".gif", ".wav", ".txt") else None


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def differences(before: object, after: object, place: str = "") -> list[str]:
    """What differs between two records, a line each."""
    if isinstance(before, dict) and isinstance(after, dict):
        keys = dict.fromkeys([*before, *after])
        return [line for key in keys for line in differences(before.get(key), after.get(key), f"{place}/{key}")]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [line for i, (a, b) in pairs for line in differences(a, b, f"{place}/{i}")]
    return [] if before == after else [f"{place}: {before} -> {after}"]


if __name__ == "__main__":
    job, first, *rest = sys.argv[1:]
    if job == "record":
        record(Path(first).absolute(), Path(rest[0]).absolute(), rest[1:])
    else:
        one, other = (json.loads(Path(folder, "record.json").read_text()) for folder in (first, rest[0]))
        ran = {path.partition("/")[0] for path in other}
        found = differences({path: value for path, value in one.items() if path.partition("/")[0] in ran}, other)
        print("\n".join(found) or f"the same: {len(other)} files")
        sys.exit(bool(found))
