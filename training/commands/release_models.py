"""The commands that follow training: promote, rollback, release, drift, backtest.

What they find is JSON on standard output.  Standard error says it for people.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict
from tempfile import TemporaryDirectory
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from model_service.features import RideColumns
from model_service.models import loader

from .. import drift, live
from ..data import dataset
from ..data.dataset import Rides, Target
from ..data.tlc import Kind
from ..experiments import backtest
from ..registry import model_registry, promotion, release, tracking
from ..registry.model_registry import CHAMPION, Overtaken, Registry, RegistryError, Version
from ..registry.promotion import Bench, Contender, Verdict
from ..registry.release import Release

REFUSED = 1
ATTEMPTS = 3
"""So many times somebody else may be quicker."""


def promote(options: argparse.Namespace, console: Console) -> int:
    """Judge the newest model, or that of ``--run``; make it the champion, or say why not."""
    target: Target = options.target
    month, rides = _month(options, target)
    bench = Bench(month, rides, target, options.confidence, options.bound / 100)
    with model_registry.opened(options.tracking_uri, target) as known:
        run = options.run or model_registry.newest_run(known.client, options.experiment, target)
        candidate = _register(known, run, options.kind)
        for _ in range(ATTEMPTS):
            before = known.find(CHAMPION)
            verdict = _judge(known, candidate, before, bench, console)
            try:
                if not verdict.reasons:
                    known.promote(candidate, over=before)
                break
            except Overtaken:
                console.print("Another version has become the champion meanwhile; judging again.")
        else:
            raise RegistryError(f"Others keep changing {known.model}; promote it again later.")
        found = _found(candidate, before, verdict)
        known.client.log_dict(run, found, "promotion.json")
    print(json.dumps(found, indent=2))
    _say(candidate, before, verdict, console)
    return REFUSED if verdict.reasons else 0


def roll_back(options: argparse.Namespace, console: Console) -> int:
    """Make the champion before the present one the champion again."""
    with model_registry.opened(options.tracking_uri, options.target) as known:
        now = release.resolve(known.find(CHAMPION), known.model, CHAMPION)
        if not now.after:
            raise RegistryError(f"Version {now.number} of {known.model} is the first champion.")
        before = known.version(now.after)
        if before.rolled_back:
            raise RegistryError(f"Version {before.number} has itself been taken back; promote one.")
        loader.load(before.location, sha256=before.sha256)  # there, and the same as ever
        known.roll_back(now, to=before)
    print(json.dumps({"model": now.model, "rolled_back": now.number, "champion": before.number}))
    console.print(
        f"Version {before.number} is the champion of {now.model} again. A deployment keeps what it "
        "has until it is released and deployed.",
        highlight=False,
    )
    return 0


def resolve(options: argparse.Namespace, console: Console) -> int:
    """Pin what an alias names, copy it, and say what a deployment takes."""
    found: list[Release] = []
    for target in dict.fromkeys(options.target):
        with model_registry.opened(options.tracking_uri, target) as known:
            version = release.resolve(known.find(options.alias), known.model, options.alias)
            experiment = known.client.get_run(version.run_id).info.experiment_id
        found.append(release.release(version, experiment, target, options.bucket))
    parameters = {name: value for each in found for name, value in each.parameters.items()}
    if len({each.parameters["ModelBucket"] for each in found}) > 1:
        raise release.ReleaseError("The models lie in several buckets: name one --bucket for both.")
    if len(found) > 1:
        parameters = {"Models": "Duration,Cost", **parameters}
    if options.output:
        before = options.output.read_text() if options.output.exists() else ""
        release.write(options.output, release.pinned(before, parameters))
    if options.format == "overrides":
        print(release.overrides(parameters))
    else:
        print(
            json.dumps({"parameters": parameters, "models": [asdict(f) for f in found]}, indent=2)
        )
    return 0


def compare(options: argparse.Namespace, console: Console) -> int:
    """How far rides, and what a model says of them, are off those that it was trained on."""
    trained = drift.read(options.model)
    loaded = loader.load(options.model)
    columns = _columns(options, console)
    predicted = loaded.predict(columns).values
    shifts = drift.compare(trained, columns, predicted)
    low, high = trained.plausible.mean
    found = {
        "rides": len(predicted),
        "mean": float(predicted.mean()),
        "mean_of_an_hour": [low, high],
        "implausible": drift.outside(trained, predicted),
        "shifts": [{**asdict(shift), "level": shift.level} for shift in shifts],
    }
    print(json.dumps(found, indent=2))
    table = Table(box=None)
    for name, side in (("", "left"), ("index", "right"), ("by chance", "right"), ("", "left")):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for shift in shifts:
        table.add_row(shift.name, f"{shift.index:.3f}", f"{shift.chance:.3f}", shift.level)
    console.print(table)
    console.print(
        f"{len(predicted):,} rides; mean prediction {predicted.mean():.1f} {trained.unit}, where "
        f"hours of the training data had {low:.1f} to {high:.1f}.",
        highlight=False,
    )
    return REFUSED if any(shift.level == "drifted" for shift in shifts) else 0


def test_back(options: argparse.Namespace, console: Console) -> int:
    """Month by month, a model that is trained anew beside one that never is."""
    plan = backtest.Plan(
        options.data, options.first, options.last, options.target, options.window, options.seed,
        options.kind,
    )  # fmt: skip
    points = []
    total = len(backtest.between(plan)) - plan.window
    with Progress(console=console) as progress:
        task = progress.add_task("months", total=total)
        for point in backtest.run(plan, step=lambda text: progress.update(task, description=text)):
            points.append(point)
            progress.advance(task)
    for path in backtest.write(points, plan.target, options.output):
        console.print(path, highlight=False)
    print(backtest.table(points, plan.target), end="")
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "promote": promote,
    "rollback": roll_back,
    "release": resolve,
    "drift": compare,
    "backtest": test_back,
}


def _register(known: Registry, run: str, kind: Kind) -> Version:
    trained_on = known.client.get_run(run).data.params.get("kind", kind)
    if trained_on != kind:
        raise RegistryError(f"The run {run} was trained on {trained_on} taxis: say --kind.")
    model_id = model_registry.model_of(known.client, run)
    location = known.client.get_logged_model(model_id).artifact_location
    loaded = loader.load(tracking.location(location))
    return known.register(run, model_id, loaded.sha256)


def _judge(
    known: Registry, candidate: Version, before: Version | None, bench: Bench, console: Console
) -> Verdict:
    if before is not None and before.number == candidate.number:
        raise RegistryError(f"Version {candidate.number} of {known.model} is the champion already.")
    with console.status(f"judging on {len(bench.rides):,} rides of {bench.month}"):
        with TemporaryDirectory() as scratch:
            gaps = promotion.card_gaps(known.client, candidate.run_id, scratch)
        champion = None if before is None else _contender(known, before)
        return promotion.judge(_contender(known, candidate), champion, bench, gaps)


def _contender(known: Registry, version: Version) -> Contender:
    said = known.client.get_run(version.run_id).data.params
    return Contender(
        version.number,
        version.location,
        loader.load(version.location, sha256=version.sha256),
        tuple(filter(None, [*said.get("train", "").split(","), said.get("calibrate")])),
        version.rolled_back,
    )


def _found(candidate: Version, before: Version | None, verdict: Verdict) -> dict[str, Any]:
    return {
        "promoted": not verdict.reasons,
        "candidate": asdict(candidate),
        "champion": None if before is None else asdict(before),
        **asdict(verdict),
    }


def _say(candidate: Version, before: Version | None, verdict: Verdict, console: Console) -> None:
    name = f"Version {candidate.number} of {candidate.model}"
    for gain in [verdict.gain["rmse"]] if verdict.gain else []:
        console.print(
            f"RMSE on {verdict.rides:,} rides of {verdict.month}: {verdict.rmse['candidate']:.3f} "
            f"against the champion's {verdict.rmse['champion']:.3f}, smaller by {gain.gain:.3f} "
            f"({gain.low:.3f} to {gain.high:.3f}) in {gain.confidence:.1%} of the draws.",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    if not verdict.reasons:
        place = "where there was none" if before is None else f"in the place of {before.number}"
        console.print(f"{name} is the champion, {place}.", highlight=False)
        return
    console.print(f"{name} was not promoted:", highlight=False)
    for reason in verdict.reasons:
        console.print(f"* {reason}", highlight=False, markup=False, soft_wrap=True)


def _columns(options: argparse.Namespace, console: Console) -> RideColumns:
    if options.events:
        found, rejected = live.read(options.events)
        if rejected:
            console.print(f"{rejected:,} lines are no ride events.", highlight=False)
        return found
    _, rides = _month(options, drift.read(options.model).target)
    return rides.columns


def _month(options: argparse.Namespace, target: Target) -> tuple[str, Rides]:
    """The month that was asked for, or the newest."""
    kind: Kind = options.kind
    month = options.month or dataset.newest(options.data, kind)
    return month, dataset.read(options.data, month, target, kind)
