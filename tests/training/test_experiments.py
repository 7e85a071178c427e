"""Comparing models and searching for parameters, through the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from tests.support.training_factories import QUICK
from training import __main__ as command
from training.data import dataset, simulation
from training.experiments import comparison, comparison_tables, tuning
from training.experiments.comparison import CHAMPION, Comparison, Pair, Plan
from training.model import champion as fit
from training.registry import tracking

MONTHS = ["2021-01", "2021-02", "2021-03", "2021-06"]


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("study") / "rides"
    simulation.write(directory, MONTHS, 250, seed=0)
    return directory


@pytest.fixture(scope="module")
def compared(rides: Path) -> Comparison:
    plan = Plan(rides, comparison.pairs(rides), ["duration", "cost"], parameters=QUICK)
    return comparison.run(plan, step=lambda _: None)


def test_a_pair_is_two_months_that_follow_each_other(rides: Path) -> None:
    assert comparison.pairs(rides) == [Pair("2021-01", "2021-02"), Pair("2021-02", "2021-03")]


def test_months_that_do_not_follow_each_other_are_said(tmp_path: Path) -> None:
    simulation.write(tmp_path, ["2021-01", "2021-03"], 200, seed=0)

    assert command.main(["compare", "--data", str(tmp_path)]) == 2


def test_every_model_is_asked_for_the_same_rides(rides: Path, compared: Comparison) -> None:
    for line in compared.lines:
        assert line.trained == len(dataset.read(rides, line.pair.train, line.target))
        assert line.whole.rides == len(dataset.read(rides, line.pair.test, line.target))
    models = {line.model for line in compared.lines}
    assert len(compared.lines) == len(models) * 2 * 2


def test_an_error_is_that_of_the_model_asked_by_itself(rides: Path, compared: Comparison) -> None:
    trained, tested = (dataset.read(rides, month, "cost") for month in ("2021-02", "2021-03"))
    champion = fit.champion(trained, seed=0, parameters=QUICK)
    error = fit.predict(champion, tested.columns) - tested.target

    [line] = [
        line
        for line in compared.lines
        if (line.target, line.pair.train, line.model) == ("cost", "2021-02", CHAMPION)
    ]

    assert line.whole.rmse == pytest.approx(float(np.sqrt(np.mean(error**2))))
    assert line.whole.p90 == pytest.approx(float(np.quantile(np.abs(error), 0.9)))


def test_not_to_know_costs_something(compared: Comparison) -> None:
    for pair in comparison_pairs(compared):
        of = {one.what: one for one in compared.unknown if (one.target, one.pair) == pair}
        assert of["nothing"].champion < of["where it begins and ends"].champion
        assert of["when it begins"].linear == of["nothing"].linear  # it never knew


def comparison_pairs(compared: Comparison) -> set[Any]:
    return {(one.target, one.pair) for one in compared.unknown}


def test_the_tables_have_every_model_and_pair(compared: Comparison) -> None:
    text = comparison_tables.markdown(compared)

    assert text.count("| 2021-01 → 02 |") == text.count("| 2021-02 → 03 |") == 4
    for line in compared.lines:
        assert f"{line.whole.rmse:.2f} ({line.whole.mae:.2f}; {line.whole.p90:.2f})" in text
    for table in text.split("\n\n"):
        assert len({row.count("|") for row in table.splitlines() if "|" in row}) <= 1


def test_the_comparison_goes_to_files(rides: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "found.json").write_text(json.dumps({"parameters": dict(QUICK)}))
    code = command.main(
        ["compare", "--data", str(rides), "--target", "cost", "--output", str(tmp_path / "out"),
         "--parameters", str(tmp_path / "found.json")]
    )  # fmt: skip

    printed = capsys.readouterr().out
    assert code == 0
    assert (tmp_path / "out/comparison.md").read_text() == printed
    lines = json.loads((tmp_path / "out/comparison.json").read_text())["lines"]
    assert {line["target"] for line in lines} == {"cost"}


Capture = pytest.CaptureFixture[str]
Tune = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def found(rides: Path, place: Path) -> dict[str, Any]:
    code = command.main(
        ["tune", "--data", str(rides), "--train", "2021-01", "--validate", "2021-03",
         "--trials", "8", "--tracking-uri", uri(place), "--json", str(place / "found.json")]
    )  # fmt: skip
    assert code == 0
    written: dict[str, Any] = json.loads((place / "found.json").read_text())
    return written


def uri(place: Path) -> str:
    return f"sqlite:///{place}/mlflow.db"


def test_what_is_found_is_no_worse_than_what_there_was(found: dict[str, Any]) -> None:
    assert found["rmse"] <= found["before"]
    assert found["trials"] == 8


def test_an_error_of_a_trial_is_that_of_such_trees(rides: Path, found: dict[str, Any]) -> None:
    months = [dataset.read(rides, month, "duration") for month in ("2021-01", "2021-03")]
    trained = fit.some_without_time(months[0], 0)

    trees = fit.trees(found["parameters"], trained, 0)

    error = trees.predict(fit.frame(months[1].columns)) - months[1].target
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(found["rmse"], rel=1e-3)


def test_a_search_is_a_run_and_a_trial_a_run_inside_it(place: Path, found: dict[str, Any]) -> None:
    with tracking.client(uri(place)) as client:
        experiment = client.get_experiment_by_name(tuning.EXPERIMENT)
        runs = client.search_runs([experiment.experiment_id])
        inside = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == found["run_id"]]
        outer = client.get_run(found["run_id"])
        pruned = [run for run in inside if run.data.tags["pruned"] == "True"]
        steps = [len(client.get_metric_history(r.info.run_id, "rmse_minutes")) for r in pruned]

    assert len(inside) == 8
    assert len(pruned) == found["pruned"]
    assert all(0 < count < tuning.STEPS for count in steps)
    assert outer.data.metrics["rmse_minutes"] == found["rmse"]
    assert float(outer.data.params["best_max_iter"]) == found["parameters"]["max_iter"]


def test_what_was_found_can_be_trained_with(
    rides: Path, place: Path, found: dict[str, Any], capsys: Capture
) -> None:
    where = ["--tracking-uri", uri(place), "--artifacts", str(place / "artifacts")]
    code = command.main(
        ["train", "--data", str(rides), "--train", "2021-01", "--test", "2021-02", "--no-card",
         "--parameters", str(place / "found.json"), *where]
    )  # fmt: skip

    assert code == 0
    run = json.loads(capsys.readouterr().out)["run_id"]
    with tracking.client(uri(place)) as client:
        said = client.get_run(run).data.params
    assert {name: float(said[name]) for name in found["parameters"]} == found["parameters"]


def test_the_bounds_are_of_the_parameters_that_there_are() -> None:
    assert msgspec.structs.asdict(tuning.Chosen()) == dict(fit.PARAMETERS)


@pytest.mark.parametrize(
    "text",
    [
        "", "{}", '{"parameters": {"no_such": 1}}', '{"parameters": []}', "[" * 100_000,
        '{"parameters": {"max_iter": -5}}', '{"parameters": {"max_iter": 1}}',
        '{"parameters": {"max_iter": 1e12}}', '{"parameters": {"max_iter": "300"}}',
        '{"parameters": {"max_iter": true}}', '{"parameters": {"max_iter": 300.7}}',
        '{"parameters": {"max_leaf_nodes": 99999999999999999999}}',
        '{"parameters": {"learning_rate": NaN}}', '{"parameters": {"learning_rate": 1e308}}',
        '{"parameters": {"max_features": 0}}', '{"parameters": {"min_samples_leaf": null}}',
    ],
)  # fmt: skip
def test_a_file_that_has_no_parameters_is_said(text: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "found.json").write_text(text)

    code = command.main(["train", "--parameters", str(tmp_path / "found.json")])

    error = capsys.readouterr().err
    assert code == 2
    assert re.search(r"found\.json has no parameters", error)
    assert error.count("\n") == 1


def test_rides_that_were_trained_on_cannot_judge(rides: Path, place: Path, capsys: Capture) -> None:
    code = command.main(
        ["tune", "--data", str(rides), "--train", "2021-02", "--validate", "2021-02",
         "--tracking-uri", uri(place)]
    )  # fmt: skip

    assert code == 2
    assert "name a later --validate" in capsys.readouterr().err
