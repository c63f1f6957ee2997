"""The documents are true: links lead somewhere, commands are accepted and run, code runs, sizes are kept.

``python tests/test_documents.py`` renews the table of groups in conf/README.md.
"""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf, open_dict
from PIL import Image

from sparring import cli

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
DOCUMENTS = sorted(p for p in ROOT.rglob("*.md") if not {".venv", "outputs", "multirun"} & set(p.parts))
HELP = (CONF / "hydra" / "help" / "sparring.yaml").read_text()
GROUPS = dict(re.findall(r"^    ([a-z_/]+) {2,}(\S.*)$", HELP, re.MULTILINE)) | {  # and what --help leaves out
    "experiment/speedrun": "to a stated score as fast as the machine can",
    "experiment/testbed": "data whose modes can be counted, see [the table](experiment/testbed/README.md)",
    "hydra/sweeper": "who proposes jobs (`sweep=` chooses one)",
    "hydra/help": "what `--help` prints",
}
MARKS = re.compile(r"(<!-- groups:.*?-->\n).*?(<!-- /groups -->)", re.DOTALL)
SMALL = ["trainer.max_steps=1", "grid.count=4", "logger.mode=offline", "trainer.accelerator=cpu"]
ABSENT = ("celeba", "cifar10")  # data that would be downloaded


def table() -> str:
    choices: dict[str, list[str]] = {}
    for path in sorted(CONF.rglob("*.yaml")):
        if path.parent != CONF:
            choices.setdefault(path.parent.relative_to(CONF).as_posix(), []).append(path.stem)
    assert choices.keys() <= GROUPS.keys(), f"describe {choices.keys() - GROUPS.keys()} in conf/hydra/help"
    rows = [f"| `{g}` | {GROUPS[g]} | {' '.join(f'`{c}`' for c in choices[g])} |" for g in GROUPS if g in choices]
    return "\n".join(["| group | | choices |", "|---|---|---|", *rows]) + "\n"


def blocks(document: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", document.read_text(), re.DOTALL)


def commands(document: Path) -> list[str]:
    """What is typed after ``run.py``, a line each."""
    lines = [line for block in blocks(document, "bash") for line in re.sub(r"\\\n", " ", block).splitlines()]
    return [line.partition("run.py")[2].strip() for line in lines if "run.py" in line and "git " not in line]


ALL = [(document, command) for document in DOCUMENTS for command in commands(document)]


def test_the_table_of_groups_is_that_of_conf():
    start = MARKS.search((CONF / "README.md").read_text())
    assert start[0] == start[1] + table() + start[2], "conf/ changed: python tests/test_documents.py"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(document):
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    for link in re.findall(r"\]\(((?!http)[^)#]+)[^)]*\)", text) + re.findall(r'src="([^"]+)"', text):
        assert (document.parent / link).exists(), link
    for path in re.findall(r"`(?:pytest |python )?((?:tests|src|conf|notebooks)/[\w/.]+)", text):
        assert (ROOT / path).exists() or "mine" in path, path


def test_sizes_are_kept():
    assert (ROOT / "README.md").stat().st_size <= 10 * 1024
    long = {str(p): n for p in (ROOT / "src").rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long
    entries = [p for p in (ROOT / "src" / "sparring").iterdir() if p.name != "__pycache__"]
    assert len(entries) <= 20, sorted(entries)


@pytest.fixture(scope="module")
def things(run, tmp_path_factory) -> dict[str, str]:
    """Something for every placeholder: a finished run, images, arrays, text."""
    folder = tmp_path_factory.mktemp("things")
    draw = np.random.default_rng(0)
    for name in ("A", "B"):
        (folder / "images" / name).mkdir(parents=True)
        for i in range(60):
            pixels = draw.integers(0, 256, (28, 28), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / "images" / name / f"{i}.png")
    np.savez(folder / "x.npz", x=draw.integers(0, 256, (60, 28, 28, 1), dtype=np.uint8))
    (folder / "x.txt").write_text("a cat sat\na dog ran\n" * 40)
    run("model=mlp", "model.width=8", "evaluation=none", *SMALL, "hydra.run.dir=runs/one", cwd=folder)
    finished = str(folder / "runs" / "one")
    return {
        "outputs/...": finished,
        "multirun/...": str(folder / "runs"),
        "multirun/losses": str(folder / "runs"),
        "DIR": str(folder / "images"),
        "FILE.npz": str(folder / "x.npz"),
        "FILE.txt": str(folder / "x.txt"),
    }


def filled(command: str, things: dict[str, str]) -> list[str]:
    words = shlex.split(command, comments=True)
    for placeholder, thing in things.items():
        words = [word.replace(f"={placeholder}", f"={thing}") for word in words]
    return words


@pytest.mark.parametrize(("document", "command"), ALL, ids=[f"{d.parent.name}: {c[:60]}" for d, c in ALL])
def test_every_command_is_accepted(document, command, things, monkeypatch):
    """It composes, and what it composes is found right; nothing is run."""
    if "--help" in command:
        return
    arguments = [a for a in filled(command, things) if a not in ("-m", "--cfg", "job")]
    prepared = cli.prepare([_first(argument) for argument in arguments])
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = compose("config", overrides=prepared, return_hydra_config=True)
        monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": cfg.hydra}), raising=False)
        with open_dict(cfg):
            del cfg["hydra"]
        cli.check(cfg, prepared)


def _first(argument: str) -> str:
    """The first job of a sweep's argument."""
    (override,) = OverridesParser.create().parse_overrides([argument])
    if not override.is_sweep_override():
        return argument
    value = override.value()
    values = getattr(value, "list", None)
    return f"{override.key_or_group}={values[0] if values else 0.001}"


@pytest.mark.slow
@pytest.mark.parametrize("command", [c for c in commands(ROOT / "README.md") if "trainer=ddp" not in c])
def test_the_readmes_commands_run(command, things, run, tmp_path):
    words = filled(command, things)
    if any(word.endswith(ABSENT) for word in words) or "evaluation=inception" in words:
        pytest.skip("would download")
    small = SMALL if not any(word.startswith("task=") for word in words) else []
    resumed = any(word.startswith("resume=") for word in words)
    small = ["trainer.max_steps=2"] if resumed else [*small, "evaluation=none", "model.width=8"] if small else []
    run(*words, *small, cwd=tmp_path)


def test_the_readmes_loss_trains(things):
    from conftest import engine, fit, small_game
    from sparring import losses

    space = dict(vars(losses))
    exec(blocks(ROOT / "README.md", "python")[0], space)
    fit(engine(small_game(space["Mine"]())), 2)


def test_the_guides_regularizer_and_metric_work():
    from conftest import engine, fit, noise_images, small_game
    from sparring.evaluation.extractors.base import Batch
    from sparring.evaluation.metrics import base as metrics
    from sparring.regularizers import base as regularizers

    code = blocks(ROOT / ".github" / "CONTRIBUTING.md", "python")
    space = {**vars(regularizers), **vars(metrics), "torch": torch}
    exec(next(block for block in code if "Regularizer" in block), space)
    fit(engine(small_game(regularizers={"mine": space["Mine"]()})), 2)
    exec(next(block for block in code if "(Metric)" in block), space)
    metric, images = space["MeanBrightness"](), noise_images(6)
    metric.begin(metrics.Comparison(None, 6, "none", 0, 0, torch.device("cpu")))
    metric.add(Batch(torch.arange(6), images, torch.zeros(6, 0)))
    assert metric.scores({})["brightness"] == pytest.approx(images.double().mean().item())


if __name__ == "__main__":
    document = CONF / "README.md"
    document.write_text(MARKS.sub(lambda marks: marks[1] + table() + marks[2], document.read_text()))
