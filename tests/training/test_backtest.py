from __future__ import annotations

import json
from pathlib import Path

import pytest

from model_service.errors import ServiceError
from tests.support.training_factories import write_yellow_month
from training import __main__ as command
from training.data import simulation
from training.experiments import backtest
from training.experiments.backtest import BacktestPlan, BacktestPoint

MONTHS = ["2021-01", "2021-02", "2021-03", "2021-05"]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> BacktestPlan:
    directory = tmp_path_factory.mktemp("backtest")
    simulation.write(directory, MONTHS, 120, seed=0)
    return BacktestPlan(directory, "2021-01", "2021-12", "duration")


@pytest.fixture(scope="module")
def points(plan: BacktestPlan) -> list[BacktestPoint]:
    return list(backtest.run(plan, on_step=lambda _: None))


def test_no_month_is_predicted_by_a_model_trained_on_it(points: list[BacktestPoint]) -> None:
    assert [point.month for point in points] == MONTHS[1:]
    assert [point.trained_on for point in points] == [(month,) for month in MONTHS[:-1]]


def test_both_models_have_the_same_errors_in_the_first_tested_month(
    points: list[BacktestPoint],
) -> None:
    assert points[0].anew == points[0].once
    assert points[1].anew != points[1].once


def test_a_window_of_two_months_trains_on_both(plan: BacktestPlan) -> None:
    wide = BacktestPlan(plan.data, "2021-01", "2021-05", "duration", window=2)

    found = list(backtest.run(wide, on_step=lambda _: None))

    assert [point.trained_on for point in found] == [
        ("2021-01", "2021-02"),
        ("2021-02", "2021-03"),
    ]


def test_yellow_months_give_the_same_results(
    plan: BacktestPlan, points: list[BacktestPoint]
) -> None:
    for month in MONTHS[:2]:
        write_yellow_month(plan.data, month)
    yellow = BacktestPlan(plan.data, "2021-01", "2021-12", "duration", kind="yellow")

    assert list(backtest.run(yellow, on_step=lambda _: None)) == points[:1]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2021-05", "2021-12", r"has 1 months; at least 2 are needed"),
        ("2021", "2021-12", "must be in the form YYYY-MM"),
    ],
)
def test_too_few_or_malformed_months_are_refused(
    plan: BacktestPlan, first: str, last: str, said: str
) -> None:
    with pytest.raises(ServiceError, match=said):
        backtest.available_months(BacktestPlan(plan.data, first, last, "duration"))


def test_a_table_a_plot_and_the_figures_are_written(
    plan: BacktestPlan,
    points: list[BacktestPoint],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    code = command.main(
        ["backtest", "--data", str(plan.data), "--from", "2021-01", "--to", "2021-05",
         "--output", str(tmp_path / "out")]
    )  # fmt: skip

    table = capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "backtest.json").read_text())
    assert code == 0
    assert table == (tmp_path / "out" / "backtest.md").read_text()
    assert table == backtest.table(points, "duration")
    errors = points[0].anew
    assert f"; {errors['median_minutes']:.2f}; {errors['close']:.0%}) |" in table
    assert [figure["rides"] for figure in figures] == [point.rides for point in points]
    assert (tmp_path / "out" / "backtest.svg").read_text().count("<svg") == 1
