"""The fast binning of `tests.support.fast_binning` is scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble._hist_gradient_boosting import binning
from sklearn.utils import stats

from tests.support import fast_binning

RANDOM = np.random.default_rng(0)
COLUMNS = {
    "many values": RANDOM.gamma(2, 2, 900),
    "many equal values": RANDOM.gamma(2, 2, 900).round(1),
    "fewer values than bins": RANDOM.integers(0, 9, 900).astype(float),
    "missing values": np.where(RANDOM.random(900) < 0.1, np.nan, RANDOM.gamma(2, 2, 900)),
    "one value": np.ones(900),
}
WEIGHTS = {
    "different weights": RANDOM.uniform(0.25, 1, 900),
    "equal weights": np.ones(900),
    "some weights of 0": np.where(RANDOM.random(900) < 0.1, 0.0, 0.5),
}


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("bins", [10, 63, 255])
def test_thresholds_are_those_of_scikit_learn(
    monkeypatch: pytest.MonkeyPatch, column: str, weights: str, bins: int
) -> None:
    given = COLUMNS[column], bins, WEIGHTS[weights]
    assert binning._weighted_percentile is fast_binning.weighted_percentile
    fast = binning._find_binning_thresholds(*given)
    monkeypatch.setattr(binning, "_weighted_percentile", stats._weighted_percentile)

    own = binning._find_binning_thresholds(*given)

    assert np.array_equal(fast, own)
