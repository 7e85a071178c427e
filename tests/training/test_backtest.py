from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.training_factories import write_yellow_month
from training import __main__ as command
from training.data import simulation
from training.data.dataset import DataError
from training.experiments import backtest
from training.experiments.backtest import Plan, Point

MONTHS = ["2021-01", "2021-02", "2021-03", "2021-05"]


@pytest.fixture(scope="module")
def plan(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    directory = tmp_path_factory.mktemp("backtest")
    simulation.write(directory, MONTHS, 1_000, seed=0)
    return Plan(directory, "2021-01", "2021-12", "duration")


@pytest.fixture(scope="module")
def points(plan: Plan) -> list[Point]:
    return list(backtest.run(plan, step=lambda _: None))


def test_no_month_is_predicted_by_what_has_seen_it(points: list[Point]) -> None:
    assert [point.month for point in points] == MONTHS[1:]
    assert [point.trained_on for point in points] == [(month,) for month in MONTHS[:-1]]


def test_both_begin_as_the_same_model(points: list[Point]) -> None:
    assert points[0].anew == points[0].once
    assert points[1].anew != points[1].once


def test_a_window_holds_so_many_months(plan: Plan) -> None:
    wide = Plan(plan.data, "2021-01", "2021-05", "duration", window=2)

    found = list(backtest.run(wide, step=lambda _: None))

    assert [point.trained_on for point in found] == [
        ("2021-01", "2021-02"),
        ("2021-02", "2021-03"),
    ]


def test_yellow_months_are_tested_in_the_same_way(plan: Plan, points: list[Point]) -> None:
    for month in MONTHS[:2]:
        write_yellow_month(plan.data, month)
    yellow = Plan(plan.data, "2021-01", "2021-12", "duration", kind="yellow")

    assert list(backtest.run(yellow, step=lambda _: None)) == points[:1]


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        ("2021-05", "2021-12", r"has 1 months; it takes 2"),
        ("2021", "2021-12", "is no month: write YYYY-MM"),
    ],
)
def test_too_few_months_are_said(plan: Plan, first: str, last: str, said: str) -> None:
    with pytest.raises(DataError, match=said):
        backtest.between(Plan(plan.data, first, last, "duration"))


def test_a_table_a_picture_and_the_figures_are_written(
    plan: Plan, points: list[Point], tmp_path: Path, capsys: pytest.CaptureFixture[str]
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
    assert [figure["rides"] for figure in figures] == [point.rides for point in points]
    assert (tmp_path / "out" / "backtest.svg").read_text().count("<svg") == 1
