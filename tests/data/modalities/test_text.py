"""The real commands on text of one's own: a run goes on with other text, in the words it knows."""

import pytest
from omegaconf import OmegaConf

SMALL = ["data=text", "data.length=8", "data.batch_size=8", "model.width=8", "trainer.max_steps=2", "logger=none"]
SMALL += ["evaluation=none", "trainer.accelerator=cpu"]
SEA = "\n".join(f"the {a} sea is {b}" for a in ("old", "blue", "cold") for b in ("here", "there", "far", "near"))
HILLS = "\n".join(f"the {a} hills are {b}" for a in ("old", "green", "low") for b in ("here", "there", "far", "near"))


@pytest.fixture(scope="module")
def sea(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "sea.txt").write_text(SEA)
    (folder / "hills.txt").write_text(HILLS)
    run(*SMALL, "data.path=sea.txt", "hydra.run.dir=sea", cwd=folder)
    return folder


def vocabulary(folder) -> str:
    return OmegaConf.load(folder / "config.yaml").data.vocabulary


def test_weights_go_on_with_other_text_in_the_words_they_know(sea, run):
    begun = ["data.path=hills.txt", "init=sea", "model=text", "hydra.run.dir=hills"]
    said = run(*SMALL, *begun, cwd=sea).stdout
    assert "using the vocabulary of sea" in said and "% of its words are not in data.vocabulary" in said
    assert vocabulary(sea / "hills") == vocabulary(sea / "sea") and "hardly learns" not in said
    run("resume=hills", "trainer.max_steps=3", cwd=sea)
    assert vocabulary(sea / "hills") == vocabulary(sea / "sea")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (["data.vocabulary='<unk> \n the hills'"], "data.vocabulary: is not that of init=sea"),
        (["data.unit=character"], "data.unit=character: the weights of init=sea are of words"),
    ],
)
def test_weights_that_know_other_units_are_refused(wrong, message, sea, run):
    done = run(*SMALL, "data.path=hills.txt", "init=sea", *wrong, "hydra.run.dir=wrong", cwd=sea, check=False)
    assert done.returncode == 1 and message in done.stdout + done.stderr
    assert not (sea / "wrong" / "config.yaml").exists(), "before anything was begun"


def test_a_warning_says_to_start_from_maximum_likelihood(sea, run):
    said = run(*SMALL, "data.path=sea.txt", "model=text", "hydra.run.dir=alone", cwd=sea)
    assert "hardly learns: init=RUN, of model=text_likelihood" in said.stdout + said.stderr


def test_exported_text_is_read_as_the_command_says(sea, run, capsys, monkeypatch):
    said = run("task=export", "run=sea", cwd=sea).stdout
    monkeypatch.chdir(sea)
    exec("\n".join(line.strip() for line in said.splitlines() if line.startswith("    ")))
    read = capsys.readouterr().out.splitlines()
    run("task=sample", "run=sea", "sample.folder=samples", cwd=sea)
    assert read == (sea / "samples" / "grid.txt").read_text("utf-8").splitlines()[:16] and len(read) == 16
    assert "image" not in said
