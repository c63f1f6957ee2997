"""The W&B workspace shows what runs really log, and W&B's own reader understands it. Nothing leaves this machine."""

import json
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from wandb_workspaces.workspaces import Workspace

from sparring.compare import records, wandb_workspace
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from stored_runs import store_run

VIEWER = {"id": "1", "entity": "lab", "username": "me", "email": "me@lab", "flags": "{}", "teams": {"edges": []}}


class Server(BaseHTTPRequestHandler):
    """A W&B of this machine that knows one person and one project, and stores the workspaces it is sent."""

    views: list[dict] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        asked = json.loads(body) if self.path == "/graphql" else {"query": ""}
        variables = asked.get("variables", {})
        if "upsertView" in asked["query"] and variables["projectName"] != "sparring":
            answer = {"errors": [{"message": "project not found"}]}
        elif "upsertView" in asked["query"]:
            self.views.append(variables)
            answer = {"data": {"upsertView": {"view": {"id": "7", "name": variables["name"]}, "inserted": True}}}
        elif "allViews" in asked["query"]:
            nodes = [view | {"id": "7"} for view in self.views if view["name"] == variables["viewName"]]
            answer = {"data": {"project": {"allViews": {"edges": [{"node": node} for node in nodes]}}}}
        else:
            answer = {"data": {"viewer": VIEWER}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def online(sweep):
    """Environment variables with which W&B talks to the server, once the runs are done."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"http://127.0.0.1:{server.server_port}"
    variables = {"WANDB_MODE": "online", "WANDB_API_KEY": "0" * 40, "WANDB_BASE_URL": host}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield variables
    server.shutdown()


@pytest.fixture(scope="module")
def publish(online):
    """``publish(records)``: save their workspace; return its address and what the server was sent."""

    def save(runs=()) -> tuple[str, dict]:
        url = wandb_workspace.publish("me", "sparring", runs)
        return url, json.loads(Server.views[-1]["spec"])

    return save


@pytest.fixture(scope="module")
def sweep(run, tmp_path_factory):
    """The runs of two losses and two seeds, of a model whose scores need no features."""
    folder = tmp_path_factory.mktemp("workspace")
    options = ["model=inpainting", "evaluation=paired", "evaluation.samples=50", "model.width=8", "data.batch_size=16"]
    options += ["kimg=0.032", "trainer.accelerator=cpu", "trainer.log_every_n_steps=1", "trainer.max_steps=2"]
    run("-m", "loss=hinge,nonsaturating", "seed=1,2", *options, cwd=folder)
    return records.find(str(folder / "multirun"))


@pytest.fixture(scope="module")
def logged(sweep):
    """What W&B has of each run, read from its own file by W&B's own tool."""
    found = []
    for record in sweep:
        command = ["wandb", "leet", "inspect", "--summary", "--json"]
        command += map(str, record.folder.glob("wandb/offline-run-*"))
        found.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
    return found


def panels(spec: dict, kind: str) -> list[dict]:
    sections = spec["section"]["panelBankConfig"]["sections"]
    return [panel["config"] for each in sections for panel in each["panels"] if panel["viewType"] == kind]


def at(node: dict, path: str):
    """Return ``summary:scores/fid.min`` or ``config:loss.value._target_`` of a run; KeyError if it is missing."""
    part, _, keys = path.partition(":")
    name, *deeper = [key for key in keys.split(".") if key != "value"]
    found = node[part][name]
    for key in deeper:
        found = found[key]
    return found


def test_everything_that_it_shows_was_logged_under_that_name(publish, sweep, logged):
    _, spec = publish(sweep)
    names = set(logged[0]["summary"])
    curves = panels(spec, "Run History Line Plot")
    assert {name for each in curves for name in each.get("metrics", [])} >= {
        "discriminator/adversarial",
        "D(x)",
        "generator/l1",
    }
    for curve in curves:
        assert curve["xAxis"] == "kimg" and set(curve["metrics"]) <= names
        if "metricRegex" in curve:
            assert any(re.search(curve["metricRegex"], name) for name in names), curve
    (bars,) = panels(spec, "Bar Chart")
    (coordinates,) = panels(spec, "Parallel Coordinates Plot")
    (browser,) = panels(spec, "Media Browser")
    axes = [column["accessor"] for column in coordinates["columns"]]
    for run in logged:
        assert isinstance(at(run, f"summary:{bars['metrics'][0]}"), float)
        assert [type(at(run, axis)) for axis in axes] == [str, float], "the loss and the score"
        assert run["summary"][browser["mediaKeys"][0]]["_type"] == "images/separated"


def test_the_compared_runs_alone_are_shown_the_seeds_of_a_combination_together(publish, sweep, logged):
    (runs,) = publish(sweep)[1]["section"]["runSets"]
    (chosen,) = runs["filters"]["filters"]
    assert (chosen["key"], chosen["op"]) == ({"section": "run", "name": "name"}, "IN")
    assert sorted(chosen["value"]) == sorted(run["run_id"] for run in logged)
    groups = [f"{key['section']}:{key['name']}" for key in runs["grouping"]]
    assert groups == ["config:loss.value._target_"]
    assert len({at(run, groups[0]) for run in logged}) == 2
    (single,) = publish(sweep[::2])[1]["section"]["runSets"]
    assert single["grouping"] == [], "one run of each: nothing to average"


def test_runs_that_are_not_in_that_project_are_refused(sweep):
    with pytest.raises(UserError, match="logger.project=elsewhere"):
        wandb_workspace.build("me", "elsewhere", sweep)


def test_without_runs_the_usual_names_are_laid_out_and_each_is_one_that_some_evaluation_gives(
    publish, composed, logged
):
    _, spec = publish()
    given = set()
    for evaluation in ("fast", "inception", "modes", "paired"):
        for name, node in composed(f"evaluation={evaluation}").evaluation.metrics.items():
            metric = build(node, f"evaluation.metrics.{name}")
            given |= {
                score for extractor in ("inception", "classifier", "mixture") for score in metric.names(extractor)
            }
    for curve in panels(spec, "Run History Line Plot"):
        assert curve["chartTitle"] in given | set(logged[0]["summary"]), curve
    best = [bars["metrics"][0] for bars in panels(spec, "Bar Chart")]
    assert best[:2] == ["scores/fid.min", "scores/fd_classifier.min"]
    for coordinates in panels(spec, "Parallel Coordinates Plot"):
        assert all(at(logged[0], column["accessor"]) for column in coordinates["columns"][:-1])
    assert spec["section"]["runSets"][0]["filters"]["filters"] == [], "all runs of the project"


@pytest.mark.parametrize("some", [False, True])
def test_wandbs_own_reader_gives_back_the_same_workspace(publish, sweep, some):
    url, spec = publish(sweep if some else ())
    read = Workspace.from_url(url)
    read.save()
    assert json.loads(Server.views[-1]["spec"]) == spec
    assert [s.name for s in read.sections if s.is_open][:2] == ["Best scores", "Samples"]
    assert read.settings.x_axis == "kimg" and {s.panel_settings.x_axis for s in read.sections} == {"kimg"}


def test_a_group_that_was_chosen_gives_no_more_axes_than_tell_runs_apart(tmp_path):
    """Of a model's many keys its class says it all; what was typed itself is always an axis, the seed never."""
    for name, loss, width in (("a", "Hinge", 8), ("b", "Wasserstein", 16)):
        config = {"loss": {"_target_": loss, "scale": width, "hidden": {"width": width}}, "n_dis": width, "kimg": 1.0}
        typed = [f"loss={loss}", f"n_dis={width}", "kimg=1", f"regularizer=[{loss}]"]
        store_run(tmp_path / name, typed, seed=width, config=config | {"regularizer": {loss: {"weight": 1}}})
    assert wandb_workspace.keys_that_differ(records.find(str(tmp_path))) == ["loss._target_", "n_dis"]


def test_without_a_key_it_says_how_to_log_in_and_without_the_package_how_to_install_it(monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")
    with pytest.raises(UserError, match="wandb login"):
        wandb_workspace.publish(None, "sparring")
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.setitem(sys.modules, "wandb_workspaces", None)
    with pytest.raises(UserError, match=r"pip install 'sparring\[sweep\]'"):
        wandb_workspace.publish(None, "sparring")


@pytest.mark.slow
def test_the_command_saves_what_was_built_for_the_entity_of_the_login_or_tells_of_a_refusal(
    run, publish, online, sweep, tmp_path
):
    folder = sweep[0].folder.parent
    done = run("task=compare", "compare.wandb=true", f"run={folder}", "compare.folder=out", cwd=tmp_path, **online)
    saved = Server.views[-1]
    address = rf"^W&B +{online['WANDB_BASE_URL']}/lab/sparring\?nw=\w+$"
    assert re.search(address, done.stdout, re.MULTILINE), done.stdout
    assert (tmp_path / "out" / "compare.html").is_file(), "and the page next to it"
    assert (saved["entityName"], saved["projectName"], saved["displayName"]) == ("lab", "sparring", "Sparring: 4 runs")
    ids = re.compile(r'"__id__": "\w+"')
    _, spec = publish(records.find(str(folder)))
    assert ids.sub("", json.dumps(json.loads(saved["spec"]))) == ids.sub("", json.dumps(spec))
    refused = run("task=compare", "compare.wandb=true", "logger.project=none", cwd=tmp_path, check=False, **online)
    assert refused.returncode == 1 and "Traceback" not in refused.stderr
    assert "project not found" in refused.stderr and "lab/none" in refused.stderr
