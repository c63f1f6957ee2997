"""The README's table of groups is written from conf/; `python tests/test_readme.py` renews it."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README, CONF = ROOT / "README.md", ROOT / "conf"
SAYS = {
    "task": "what to do",
    "model": "which game is played by which networks",
    "model/generator": "the generator alone",
    "model/discriminator": "the discriminator alone",
    "loss": "what each player minimises",
    "regularizer": "penalties, consistency, clipping ..., a list: `'regularizer=[r1,lecam]'`",
    "augment": "what D sees is changed by",
    "model/game": "who turns for what (`model=` chooses one)",
    "model/degradation": "how clean images are damaged, for `model=inpainting` and `superresolution`",
    "model/perceptual": "a distance in features beside the others of a model that answers to images",
    "experiment/testbed": "whose modes can be counted: `experiment=testbed/...`, see [the table](conf/experiment/testbed/README.md)",
    "experiment/speedrun": "as quickly as the machine can to a stated score: `experiment=speedrun/...`",
    "data": "real examples",
    "optimizer": "how the players learn",
    "optimizer/schedule": "learning rate over kimg",
    "evaluation": "scores",
    "evaluation/extractor": "whose features scores are made of",
    "evaluation/metrics": "which scores, a list: `'evaluation/metrics=[frechet_distance,prdc]'`",
    "trainer": "the machine",
    "sweep": "which jobs `-m` starts",
    "hydra/sweeper": "who proposes them (`sweep=` chooses one)",
    "hydra/launcher": "where the jobs of a sweep (`-m`) run, besides `joblib` and Hydra's own",
    "benchmark": "what is measured (task=benchmark)",
    "logger": "where numbers go besides metrics.csv",
    "experiment": "published recipes",
    "debug": "looking for trouble",
}
MARKS = re.compile(r"(<!-- groups:.*?-->\n).*?(<!-- /groups -->)", re.DOTALL)


def table() -> str:
    choices = {}
    for path in sorted(CONF.rglob("*.yaml")):
        if path.parent != CONF:
            choices.setdefault(path.parent.relative_to(CONF).as_posix(), []).append(path.stem)
    ordered = sorted(choices, key=lambda group: list(SAYS).index(group) if group in SAYS else len(SAYS))
    rows = [
        f"| `{group}` | {SAYS.get(group, '?')} | {' '.join(f'`{c}`' for c in choices[group])} |" for group in ordered
    ]
    return "\n".join(["| group | | choices |", "|---|---|---|", *rows]) + "\n"


def test_the_readmes_table_of_groups_is_that_of_conf():
    assert "?" not in table(), "a new group wants a line in SAYS"
    start = MARKS.search(README.read_text())
    assert start[0] == start[1] + table() + start[2], "conf/ changed: python tests/test_readme.py"


def test_every_file_that_the_readme_links_is_there():
    text = README.read_text()
    for link in re.findall(r"\]\(((?!http)[^)]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        assert (ROOT / link).exists(), link


if __name__ == "__main__":
    README.write_text(MARKS.sub(lambda marks: marks[1] + table() + marks[2], README.read_text()))
