"""The notebooks run from a clean kernel, without a run and on runs of every kind; their stored output is readable."""

import os
import re

import nbformat
import pytest
from ipykernel.kernelspec import write_kernel_spec
from nbclient import NotebookClient

from conftest import ROOT

NOTEBOOKS = {path.stem: path for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
SMALL = ["model.width=8", "trainer.max_steps=4", "data.batch_size=16", "logger=none"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A checkout in which nothing was run yet, and a kernel of this very interpreter."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("run.py", "conf"):
        (folder / name).symlink_to(ROOT / name)
    (folder / "notebooks").mkdir()
    write_kernel_spec(folder / "kernels" / "tested")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("JUPYTER_PATH", str(folder))
        patch.setenv("IPYTHONDIR", str(folder / "ipython"))
        yield folder


def read(name: str, *instead: tuple[str, str]) -> nbformat.NotebookNode:
    """A notebook, with other text in the place of some of its own."""
    notebook = nbformat.read(NOTEBOOKS[name], as_version=4)
    for old, new in instead:
        (cell,) = (cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
    return notebook


def execute(notebook: nbformat.NotebookNode, place, **environment: str) -> nbformat.NotebookNode:
    """It, run from its own folder in a new kernel; a cell that raises is raised here."""
    where = {"metadata": {"path": place / "notebooks"}}
    client = NotebookClient(notebook, timeout=300, kernel_name="tested", resources=where, coalesce_streams=True)
    return client.execute(env=os.environ | environment)


def kinds(notebook: nbformat.NotebookNode) -> list[list[str]]:
    """What each cell of code shows: pictures, tables, text."""
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return [sorted(name for out in cell.outputs for name in out.get("data", {out.get("name"): ""})) for cell in cells]


def pictures(notebook: nbformat.NotebookNode) -> int:
    return sum(kind == "image/png" for cell in kinds(notebook) for kind in cell)


def printed(notebook: nbformat.NotebookNode) -> str:
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    return "".join(out.text for cell in cells for out in cell.outputs if out.output_type == "stream")


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_stored_outputs_are_whole_and_show_pictures_but_nothing_of_the_machine(name):
    notebook = read(name)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "run all cells from a new kernel"
    assert pictures(notebook) >= 3
    outputs = str([cell.outputs for cell in code])
    assert not re.search(r"stderr|Traceback|Warning|/(root|home|tmp|Users|work)/", outputs)
    assert NOTEBOOKS[name].stat().st_size < 1.5e6


@pytest.mark.slow
def test_the_dirac_gan_of_the_engine_takes_the_steps_made_by_hand(place):
    stored = read("a_loss_from_its_equation")
    assert kinds(execute(read("a_loss_from_its_equation"), place)) == kinds(stored)


@pytest.fixture(scope="module")
def explored(place, run) -> dict[str, nbformat.NotebookNode]:
    """A kernel in which a run is explored where there is none, and then one of every kind after the other."""
    run("-m", "model=infogan,inpainting", *SMALL, "evaluation=none", "hydra.sweep.dir=kinds", cwd=place)
    run("data=ring", *SMALL, "evaluation.samples=100", "hydra.run.dir=kinds/ring", cwd=place)
    short = '", "'.join(["kimg=0.32", "model.width=8", "evaluation.samples=100"])
    parts = {"new": read("explore_a_run", ("kimg=40", short))}
    for name in ("infogan", "inpainting", "ring"):
        (folder,) = (place / "kinds").glob(f"*{name}")
        parts[name] = read("explore_a_run")
        parts[name].cells.insert(0, nbformat.v4.new_code_cell(f"os.environ['RUN'] = {str(folder)!r}"))
    whole = nbformat.v4.new_notebook(cells=[cell for part in parts.values() for cell in part.cells])
    execute(whole, place)
    return parts  # whose cells were run


@pytest.mark.slow
def test_where_there_is_no_run_one_is_trained_and_explored(explored):
    assert kinds(explored["new"]) == kinds(read("explore_a_run"))
    assert "kimg=0.32" in printed(explored["new"]) and "fd_classifier" in printed(explored["new"])


@pytest.mark.slow
def test_runs_of_every_kind_can_be_explored_and_one_after_the_other(explored):
    assert {name: pictures(explored[name]) for name in ("infogan", "inpainting", "ring")} == {
        "infogan": 13,
        "inpainting": 3,
        "ring": 8,
    }
    assert "code-0" in printed(explored["infogan"]) and "code-0" not in printed(explored["ring"])


@pytest.mark.slow
def test_where_there_is_no_sweep_one_is_run_and_compared(place):
    short = '", "'.join(["kimg=0.32", "evaluation.samples=100", "hydra.sweep.dir=multirun/one"])
    done = execute(read("compare_runs", ("kimg=20", short), ("model.width=16", "model.width=8")), place)
    assert kinds(done) == kinds(read("compare_runs"))
    assert printed(done).count(" done") == 4
    tables = str([cell.outputs for cell in done.cells if cell.cell_type == "code"])
    assert "loss=nonsaturating" in tables and "loss._target_" in tables, "what was varied, and the keys that differ"
