from __future__ import annotations

import pytest

from model_service.datasets.months import months
from model_service.errors import SettingsError


def test_months_continue_in_the_next_year() -> None:
    assert months("2021-12", "2022-01") == ["2021-12", "2022-01"]


@pytest.mark.parametrize("month", ["2021-00", "2021-13", "2021-1", "21-01", "x", ""])
def test_months_refuse_a_malformed_month(month: str) -> None:
    with pytest.raises(SettingsError, match="a month must be in the form YYYY-MM"):
        months(month, "2021-01")


def test_months_refuse_a_last_month_before_the_first() -> None:
    with pytest.raises(SettingsError, match="2021-02 is after 2021-01"):
        months("2021-02", "2021-01")
