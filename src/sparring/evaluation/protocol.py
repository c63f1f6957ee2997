"""When two scores may be compared: protocols against each other and against the protocol of record."""

from importlib.metadata import version

SAMPLES, SEEDS = 50_000, 3  # of the protocol of record: the whole training split, EMA weights, Inception of 2015
MODE_SAMPLES = {"mixture": 2_500, "stacked_digits": 26_000}  # of mode counts (Lin et al. 2018)
PACKAGES = ["sparring", "torch", "torchvision", "torchmetrics", "torch-fidelity", "numpy"]
# entries of a protocol that decide a score; others, such as packages and file names, may differ
DECISIVE = ["samples", "reals", "split", "real_images", "extractor", "weights", "resize", "precision"]
DECISIVE += ["image_size", "real_image_size", "ema", "batch_norm", "temperature", "metrics", "of"]


def packages() -> dict[str, str]:
    """Return the versions of the packages that compute scores."""
    return {name: version(name) for name in PACKAGES}


def deviations(facts: dict) -> list[str]:
    """Return how a protocol differs from that of publications; if it does not, a FID compares with published ones."""
    usual = MODE_SAMPLES.get(facts["extractor"])
    if usual is not None:
        return [] if facts["samples"] == usual else [f"{facts['samples']:,} samples, not {usual:,}"]
    if "of" in facts:
        return ["outputs for held-out inputs of these data"]
    if facts["extractor"] == "none":
        return ["they depend on these data and their split"]
    if facts["extractor"] != "inception-v3-compat":
        return [f"features of {facts['extractor']}, not of Inception"]
    found = []
    if not facts.get("standard_weights"):
        found.append("weights that are not the Inception of 2015")
    if facts["seeds"] == [None]:
        found.append("given images, generated in an unknown way")
    if facts.get("precision", "float32") != "float32":
        found.append(f"{facts['precision']} arithmetic")
    if facts["samples"] != SAMPLES:
        found.append(f"{facts['samples']:,} samples, not {SAMPLES:,}")
    if len(facts["seeds"]) < SEEDS and facts["seeds"] != [None]:
        found.append(f"{len(facts['seeds'])} of {SEEDS} sampling seeds")
    if facts["reals"] < facts["reals_available"]:
        found.append(f"{facts['reals']:,} of {facts['reals_available']:,} reals")
    if facts.get("split") not in (None, "train", "all"):
        found.append(f"the {facts['split']} split, not the training split")
    if facts["image_size"] != facts["real_image_size"]:
        found.append(f"fakes of {_size(facts['image_size'])} pixels, reals of {_size(facts['real_image_size'])}")
    if not facts.get("ema", True):
        found.append("raw weights, not the average")
    if str(facts.get("checkpoint", "")).startswith("best_by_"):
        found.append("a checkpoint that was chosen by its score")
    return found


def differences(one: dict, other: dict) -> list[str]:
    """Return what keeps two scores from being compared, as ``key: this and that``."""
    keys = [key for key in DECISIVE if one.get(key) != other.get(key)]
    if "not in the network" in (one.get("batch_norm"), other.get("batch_norm")):  # all policies are equal
        keys = [key for key in keys if key != "batch_norm"]
    return [f"{key}: {one.get(key)} and {other.get(key)}" for key in keys]


def _size(size: list[int]) -> str:
    return "x".join(map(str, size))
