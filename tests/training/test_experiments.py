"""Comparing models and searching for parameters, through the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.training_factories import QUICK
from training import __main__ as command
from training.data import dataset, simulation
from training.experiments import comparison, comparison_tables, tuning
from training.experiments.comparison import CHAMPION, Comparison, ComparisonPlan, MonthPair
from training.model import champion
from training.registry import tracking

MONTHS = ["2021-01", "2021-02", "2021-03", "2021-06"]


@pytest.fixture(scope="module")
def rides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("study") / "rides"
    simulation.write(directory, MONTHS, 140, seed=0)
    return directory


@pytest.fixture(scope="module")
def compared(rides: Path) -> Comparison:
    plan = ComparisonPlan(rides, comparison.pairs(rides), ["duration"], parameters=QUICK)
    return comparison.run(plan, on_step=lambda _: None)


def test_a_pair_is_two_consecutive_months(rides: Path) -> None:
    assert comparison.pairs(rides) == [
        MonthPair("2021-01", "2021-02"),
        MonthPair("2021-02", "2021-03"),
    ]


def test_months_that_are_not_consecutive_are_refused(tmp_path: Path) -> None:
    simulation.write(tmp_path, ["2021-01", "2021-03"], 200, seed=0)

    assert command.main(["compare", "--data", str(tmp_path)]) == 2


@pytest.mark.slow
def test_every_model_predicts_the_same_rides(rides: Path, compared: Comparison) -> None:
    for line in compared.lines:
        assert line.trained == len(dataset.read(rides, line.pair.train, line.target))
        assert line.whole.rides == len(dataset.read(rides, line.pair.test, line.target))
    models = {line.model for line in compared.lines}
    assert len(compared.lines) == len(models) * 2


@pytest.mark.slow
def test_the_error_of_the_champion_equals_that_of_its_predictions(
    rides: Path, compared: Comparison
) -> None:
    trained, tested = (dataset.read(rides, month, "duration") for month in ("2021-02", "2021-03"))
    trees = champion.fit_value(trained, seed=0, parameters=QUICK)
    error = champion.predict_trees(trees, tested.columns) - tested.target

    [line] = [
        line
        for line in compared.lines
        if (line.target, line.pair.train, line.model) == ("duration", "2021-02", CHAMPION)
    ]

    assert line.whole.rmse == pytest.approx(float(np.sqrt(np.mean(error**2))))
    assert line.whole.p90 == pytest.approx(float(np.quantile(np.abs(error), 0.9)))


@pytest.mark.slow
def test_unknown_inputs_increase_the_error(compared: Comparison) -> None:
    for pair in comparison_pairs(compared):
        of = {one.what: one for one in compared.unknown if (one.target, one.pair) == pair}
        assert of["nothing"].champion < of["both zones"].champion
        assert of["pick-up time"].linear == of["nothing"].linear  # it does not use the time


def comparison_pairs(compared: Comparison) -> set[Any]:
    return {(one.target, one.pair) for one in compared.unknown}


@pytest.mark.slow
def test_the_tables_have_every_model_and_pair(compared: Comparison) -> None:
    text = comparison_tables.markdown(compared)

    assert text.count("| 2021-01 → 02 |") == text.count("| 2021-02 → 03 |") == 2
    for line in compared.lines:
        whole = line.whole
        assert (
            f"{whole.rmse:.2f} ({whole.mae:.2f}; {whole.median:.2f}; {whole.p90:.2f}; "
            f"{whole.close:.0%})"
        ) in text
    for table in text.split("\n\n"):
        assert len({row.count("|") for row in table.splitlines() if "|" in row}) <= 1


@pytest.mark.slow
def test_the_comparison_is_written_to_files(tmp_path: Path, capsys: Capture) -> None:
    simulation.write(tmp_path / "rides", MONTHS[:2], 150, seed=0)
    (tmp_path / "found.json").write_text(json.dumps({"parameters": dict(QUICK)}))

    code = command.main(
        ["compare", "--data", str(tmp_path / "rides"), "--target", "cost", "duration",
         "--output", str(tmp_path / "out"), "--parameters", str(tmp_path / "found.json")]
    )  # fmt: skip

    printed = capsys.readouterr().out
    assert code == 0
    assert (tmp_path / "out/comparison.md").read_text() == printed
    lines = json.loads((tmp_path / "out/comparison.json").read_text())["lines"]
    assert list(dict.fromkeys(line["target"] for line in lines)) == ["cost", "duration"]
    assert printed.count("| 2021-01 → 02 |") == 4


Capture = pytest.CaptureFixture[str]
Tune = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tuned")


@pytest.fixture(scope="module")
def found(rides: Path, place: Path, new_database: Callable[[Path], str]) -> dict[str, Any]:
    new_database(place / "mlflow.db")
    code = command.main(
        ["tune", "--data", str(rides), "--train", "2021-01", "--validate", "2021-03",
         "--trials", "7", "--tracking-uri", uri(place), "--json", str(place / "found.json")]
    )  # fmt: skip
    assert code == 0
    written: dict[str, Any] = json.loads((place / "found.json").read_text())
    return written


def uri(place: Path) -> str:
    return f"sqlite:///{place}/mlflow.db"


@pytest.mark.slow
def test_the_result_is_no_worse_than_the_present_parameters(found: dict[str, Any]) -> None:
    assert found["rmse"] <= found["before"]
    assert found["trials"] == 7


@pytest.mark.slow
def test_the_error_of_a_trial_is_the_error_of_its_model(rides: Path, found: dict[str, Any]) -> None:
    months = [dataset.read(rides, month, "duration") for month in ("2021-01", "2021-03")]
    trained = champion.with_hidden_times(months[0], 0)

    trees = champion.fit_trees(found["parameters"], trained, 0)

    error = trees.predict(champion.frame(months[1].columns)) - months[1].target
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(found["rmse"], rel=1e-3)


@pytest.mark.slow
def test_each_trial_is_a_run_nested_in_the_run_of_the_search(
    place: Path, found: dict[str, Any]
) -> None:
    with tracking.client(uri(place)) as client:
        experiment = client.get_experiment_by_name(tuning.EXPERIMENT)
        runs = client.search_runs([experiment.experiment_id])
        inside = [r for r in runs if r.data.tags.get("mlflow.parentRunId") == found["run_id"]]
        outer = client.get_run(found["run_id"])
        pruned = [run for run in inside if run.data.tags["pruned"] == "True"]
        steps = [len(client.get_metric_history(r.info.run_id, "rmse_minutes")) for r in pruned]

    assert len(inside) == 7
    assert len(pruned) == found["pruned"]
    assert all(0 < count < tuning.STEPS for count in steps)
    assert outer.data.metrics["rmse_minutes"] == found["rmse"]
    assert float(outer.data.params["best_max_iter"]) == found["parameters"]["max_iter"]


@pytest.mark.slow
def test_a_model_can_be_trained_with_the_result(
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
def test_a_file_without_valid_parameters_is_refused(
    text: str, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "found.json").write_text(text)

    code = command.main(["train", "--parameters", str(tmp_path / "found.json")])

    error = capsys.readouterr().err
    assert code == 2
    assert re.search(r"found\.json has no parameters", error)
    assert error.count("\n") == 1


def test_a_training_month_cannot_be_the_validation_month(
    rides: Path, place: Path, capsys: Capture
) -> None:
    code = command.main(
        ["tune", "--data", str(rides), "--train", "2021-02", "--validate", "2021-02",
         "--tracking-uri", uri(place)]
    )  # fmt: skip

    assert code == 2
    assert "name a later --validate" in capsys.readouterr().err
