"""What a run leaves for people: figures of every part, pictures, and the model's card.

All of it hangs on the run in MLflow, below ``card``, and is drawn after the service's own loader
has scored with what was logged: a card that is there is that of a model that serves.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model_service.features import columns
from model_service.scoring import WARM_UP

from .. import metrics
from ..data.dataset import UNITS, Rides, Target
from ..metrics import Ask, Part, Trial
from ..model import champion
from ..registry import tracking
from . import model_card, plots, svg_style
from .model_card import Facts
from .plots import Learned, Picture

LEARNING = (0.05, 0.25)
"""The shares of the rides that the learning curve trains on, beside all of them."""
FOLDER = "card"


@dataclass(frozen=True, slots=True)
class Trained:
    """A model that was logged, what it was trained on, and what it was tested on."""

    ask: Ask
    rides: Rides
    test: Trial
    seed: int
    parameters: champion.Parameters


def write(trained: Trained, facts: Facts, tracking_uri: str) -> None:
    """Hang all of it on the run of *facts*."""
    shown = _pictures(trained, facts)
    text = model_card.markdown(facts, shown)
    with TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "pictures").mkdir()
        for picture in shown:
            path = folder / "pictures" / f"{picture.name}.svg"
            path.write_text(svg_style.standalone(picture.svg), encoding="utf-8")
        (folder / model_card.TEXT).write_text(text, encoding="utf-8")
        (folder / model_card.PAGE).write_text(model_card.page(text, shown), encoding="utf-8")
        (folder / "parts.json").write_text(_json([asdict(part) for part in facts.parts]))
        (folder / "data.json").write_text(_json([asdict(rows) for rows in facts.rows]))
        tracking.attach(
            tracking_uri, facts.run_id, folder, FOLDER, series(facts.parts, facts.target)
        )


def series(parts: Sequence[Part], target: Target) -> list[tuple[str, float, int]]:
    """Name, value and step of a metric for every part; the hours are steps of one."""
    unit = UNITS[target]
    found = []
    for part in parts:
        known = {f"rmse_{unit}": part.rmse, f"mae_{unit}": part.mae, f"p90_{unit}": part.p90}
        known |= {"rides": part.rides}
        known |= {} if part.coverage is None else {"coverage": part.coverage}
        clock = part.kind == "hour" and part.name.isdecimal()
        where = part.kind if clock or part.kind == "all" else f"{part.kind}/{part.name}"
        step = int(part.name) if clock else 0
        found += [(f"{where}/{name}", value, step) for name, value in known.items()]
    return found


def one_ride_ms(ask: Ask) -> float:
    """What a single ride takes."""
    [found] = metrics.milliseconds([ask], columns([WARM_UP]), calls=100)
    return found


def _pictures(trained: Trained, facts: Facts) -> list[Picture]:
    rmse = facts.parts[0].rmse
    learned = [
        *(
            _learned(some, trained)
            for some in metrics.subsets(trained.rides, LEARNING, seed=trained.seed)
            if len(some) >= champion.FEWEST
        ),
        Learned(len(trained.rides), rmse),
    ]
    return plots.all_of(
        trained.test,
        facts.parts,
        importances=metrics.importance(trained.ask, trained.test.rides, seed=trained.seed),
        learned=learned,
        baseline=facts.baseline_rmse,
        unit=UNITS[facts.target],
    )


def _learned(some: Rides, trained: Trained) -> Learned:
    model = champion.alone(some, seed=trained.seed, parameters=trained.parameters)
    error = champion.ask(model, trained.test.rides.columns) - trained.test.rides.target
    return Learned(len(some), metrics.rmse(error))


def _json(value: object) -> str:
    return json.dumps(value, indent=2) + "\n"
