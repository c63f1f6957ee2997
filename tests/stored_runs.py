"""Folders of runs as training leaves them, written in a moment."""

import json
from pathlib import Path

PROTOCOL = {"samples": 500, "reals": 2000, "reals_available": 5000, "real_images": "digits", "real_key": "a"}
PROTOCOL |= {"split": "all", "extractor": "classifier", "weights": "w", "ema": True, "batch_norm": "standing"}
PROTOCOL |= {"fakes": "generator", "metrics": {"prdc": {"fakes": 500}}}


def evaluation(kimg: float = 8.0, protocol: dict | None = None, **scores: float) -> dict:
    """Return an entry of ``scores.json``."""
    lower = [name for name in ("fd", "reverse_kl") if name in scores]
    when = {"iteration": round(kimg * 10), "kimg": kimg}
    return when | {"scores": scores, "protocol": PROTOCOL | (protocol or {}), "lower_is_better": lower}


def store_run(folder, overrides=(), *evaluations, state="done", seed=1, metrics="", config=None, **status) -> Path:
    """Write the files of a run; return its folder."""
    (folder / "samples").mkdir(parents=True)
    config = {"seed": seed, "model": {"latent_dim": 8}, "grid": {"count": 4}} | (config or {})
    files = {"config.yaml": config, "overrides.yaml": [*overrides, f"seed={seed}"], "scores.json": evaluations}
    files["status.json"] = {"state": state, "kimg": 8.0, "seconds": 75.0, "device": "CPU", "error": None} | status
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    (folder / "metrics.csv").write_text(metrics or "iteration,kimg,generator/adversarial\n1,1.0,2.0\n2,2.0,3.0\n")
    return folder
