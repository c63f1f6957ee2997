"""Which numbers make sense by what a key is called. Nothing here imports torch."""

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.values import leaves

# Intervals, and the keys whose numbers, or lists of them, must lie there: by the end of the key, of which the longest counts.
# Where an end is no matter of meaning it is one of sense: beyond it a command would not come to its end.
RANGES = {
    "[0, 1)": "betas momentum alpha dropout",
    "[0, 1]": "decay jitter classifier_accuracy min_accuracy",
    "[-1, 1]": "augment.target",
    "[0, 180]": "rotation",
    "[0, inf)": """lr suggested_lr suggested_lr_discriminator eps weight_decay weight adversarial_weight discriminator_weight
        l1_weight l2_weight psnr_weight cycle_weight identity_weight class_weight categorical_weight continuous_weight
        feature_weight fakes sigma sharpness start_kimg device_memory_gb bandwidth_gb latency_us""",
    "(0, 100]": "reach temperature tau",
    "(0, inf)": "clip_norm rampup radius spacing sigmas frequency speed",
    "(0, 1e9]": "kimg every_kimg epoch_kimg adjust_kimg suggested_kimg end_kimg",
    "[1, 1e15]": "max_steps log_every_n_steps keep every adjust_every",
    "[0, 1e9]": "half_life_kimg held_out",
    "[1, 1e9]": "subset count mode_samples",
    "[1, 1e6]": """epochs classifier_epochs long_tail batch_size accumulate sample.count trials steps subsets subset_size images files
        cache_images real_per_class generated_per_class long_tail_head""",
    "[1000, 400000]": "sample_rate",
    "[50, 1e7]": "samples samples_during evaluation.reals",
    "[1, 1e7]": "prdc.samples length",
    "[1, 65536]": "width suggested_width latent_dim embedding_dim hidden group_size halve_above digit_size",
    "[0, 65536]": "num_classes continuous pool minibatch_stddev phase_shuffle sample.classes",
    "[2, 65536]": "categorical",
    "[1, 32767]": "vocabulary_size",
    "[1, 10000]": "grid.count data.frames rounds iterations modes side k coverage_k density_k neighbours shown splits benchmark.sizes crop",
    "[0, 10000]": "frames border",
    "[0, 1e6]": "run_iterations sweep_jobs",
    "[1, 1000]": "n_dis rows restarts seeds parallel devices num_nodes gpus",
    "[2, 1000]": "sample.steps",
    "[1, 64]": "depth discriminators packing mapping_layers",
    "[0, 64]": "blocks layers octaves",
    "[0, 3600]": "seconds",
    "[0, 256]": "workers",
}  # fmt: skip
BY_END = {name: interval for interval, names in RANGES.items() for name in names.split()}


def check_ranges(cfg: DictConfig) -> None:
    """Raise UserError for a number that means nothing under its key."""
    for key, value in leaves(OmegaConf.to_container(cfg, resolve=True)):
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, int | float) and not isinstance(each, bool):
                _check_number(key, each)


def interval_of(key: str) -> str | None:
    """The interval in which a key's numbers must lie, by the longest end of it that is known."""
    parts = key.split(".")
    return next((BY_END[end] for i in range(len(parts)) if (end := ".".join(parts[i:])) in BY_END), None)


def _check_number(key: str, value: float) -> None:
    if (interval := interval_of(key)) is None:
        return
    least, most = map(float, interval[1:-1].split(","))
    if value < least or value == least and interval[0] == "(":
        raise UserError(f"{key}={value}: must be {'at least' if interval[0] == '[' else 'above'} {least:.12g}")
    if value > most or value == most and interval[-1] == ")":
        raise UserError(f"{key}={value}: must be {'at most' if interval[-1] == ']' else 'below'} {most:.12g}")
