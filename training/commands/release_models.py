"""The commands that change which model is in use: promote, rollback, release."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from rich.console import Console

from model_service.models import loader

from ..data import dataset
from ..data.dataset import UNITS, Target
from ..data.tlc import Kind
from ..registry import model_registry, promotion, release, tracking
from ..registry.model_registry import (
    CHAMPION,
    ChampionChanged,
    ModelRegistry,
    ModelVersion,
    RegistryError,
)
from ..registry.promotion import Contender, PromotionTest, Verdict
from ..registry.release import Release
from .console import say

REFUSED = 1
ATTEMPTS = 3
"""The maximum number of comparisons of a candidate, which is compared again if the champion changes
during the comparison."""


def run_promote(options: argparse.Namespace, console: Console) -> int:
    """Make a candidate the champion; if it is refused, print the reasons and return 1."""
    target: Target = options.target
    month = options.month or dataset.newest_month(options.data, options.kind)
    rides = dataset.read(options.data, month, target, options.kind)
    test = PromotionTest(month, rides, target, options.confidence, options.bound / 100)
    with model_registry.opened(options.tracking_uri, target) as registry:
        run = options.run or model_registry.newest_run(registry.client, options.experiment, target)
        candidate = _register(registry, run, options.kind)
        champion, verdict = _promote(registry, candidate, test, console)
        result = {
            "promoted": not verdict.reasons,
            "candidate": asdict(candidate),
            "champion": None if champion is None else asdict(champion),
            **asdict(verdict),
        }
        registry.client.log_dict(run, result, "promotion.json")
    print(json.dumps(result, indent=2))
    _print_verdict(candidate, champion, verdict, console)
    return REFUSED if verdict.reasons else 0


def run_rollback(options: argparse.Namespace, console: Console) -> int:
    """Make the previous champion the champion again."""
    with model_registry.opened(options.tracking_uri, options.target) as registry:
        champion = registry.get(CHAMPION)
        name = f"Version {champion.number} of {champion.model}"
        if not champion.after:
            raise RegistryError(f"{name} is the first champion: there is none to roll back to.")
        previous = registry.version(champion.after)
        if previous.rolled_back:
            raise RegistryError(
                f"Version {previous.number} was itself rolled back: promote another one."
            )
        loader.load(previous.location, sha256=previous.sha256)  # fails if its files have changed
        registry.roll_back(champion, to=previous)
    print(
        json.dumps(
            {"model": champion.model, "rolled_back": champion.number, "champion": previous.number}
        )
    )
    say(
        console,
        f"Version {previous.number} is the champion of {champion.model} again. Deployments change "
        "when it is released and deployed.",
    )
    return 0


def run_release(options: argparse.Namespace, console: Console) -> int:
    """Copy models that an alias or a number names, and print the parameters of a deployment."""
    if len(set(options.target)) > 1 and (options.version or options.name):
        raise release.ReleaseError("A --version or --name is of one model: name one --target.")
    releases = [_release(target, options, console) for target in dict.fromkeys(options.target)]
    parameters = {name: value for one in releases for name, value in one.parameters.items()}
    if len({one.parameters["ModelBucket"] for one in releases}) > 1:
        raise release.ReleaseError("The models are in different buckets: name a --bucket for both.")
    if len(releases) > 1:
        parameters = {"Models": "Duration,Cost", **parameters}
    if options.output:
        before = options.output.read_text() if options.output.exists() else ""
        release.write(options.output, release.pinned(before, parameters))
    if options.format == "overrides":
        print(release.overrides(parameters))
    else:
        models = [asdict(one) for one in releases]
        print(json.dumps({"parameters": parameters, "models": models}, indent=2))
    return 0


COMMANDS: dict[str, Callable[[argparse.Namespace, Console], int]] = {
    "promote": run_promote,
    "rollback": run_rollback,
    "release": run_release,
}


def _release(target: Target, options: argparse.Namespace, console: Console) -> Release:
    with model_registry.opened(options.tracking_uri, target, options.name) as registry:
        number = options.version
        version = registry.version(str(number)) if number else registry.get(options.alias)
        experiment: str = registry.client.get_run(version.run_id).info.experiment_id
        models = len(model_registry.models_of(registry.client, version.run_id))
    released = release.release(version, experiment, target, options.bucket, models)
    if released.shared_version:
        say(
            console,
            f"The run {version.run_id} has {models} models. With MODEL_LOCATION, the predictions "
            f"of each have the version {released.shared_version}: set "
            f"RUN_ID={released.environment['RUN_ID']}, or log each model with "
            'metadata={"version": "model_id"}.',
        )
    return released


def _register(registry: ModelRegistry, run: str, kind: Kind) -> ModelVersion:
    trained_on = registry.client.get_run(run).data.params.get("kind", kind)
    if trained_on != kind:
        raise RegistryError(
            f"The run {run} was trained on {trained_on} taxis: use --kind {trained_on}."
        )
    model_id = model_registry.model_of(registry.client, run)
    location = registry.client.get_logged_model(model_id).artifact_location
    loaded = loader.load(tracking.location(location))
    return registry.register(run, model_id, loaded.sha256)


def _promote(
    registry: ModelRegistry, candidate: ModelVersion, test: PromotionTest, console: Console
) -> tuple[ModelVersion | None, Verdict]:
    """Judge *candidate*, and make it the champion if it passes.

    Return the champion with which *candidate* was compared (None if there was none), and the
    verdict.
    """
    for _ in range(ATTEMPTS):
        champion = registry.find(CHAMPION)
        verdict = _judge(registry, candidate, champion, test, console)
        if verdict.reasons:
            return champion, verdict
        try:
            registry.promote(candidate, over=champion)
            return champion, verdict
        except ChampionChanged:
            say(console, "Another version has become the champion meanwhile; judging again.")
    raise RegistryError(f"The champion of {registry.model} keeps changing; promote again later.")


def _judge(
    registry: ModelRegistry,
    candidate: ModelVersion,
    champion: ModelVersion | None,
    test: PromotionTest,
    console: Console,
) -> Verdict:
    if champion is not None and champion.number == candidate.number:
        raise RegistryError(f"Version {candidate.number} of {registry.model} is already champion.")
    with console.status(f"judging on {len(test.rides):,} rides of {test.month}"):
        gaps = promotion.card_gaps(registry.client, candidate.run_id)
        current = None if champion is None else _contender(registry, champion)
        return promotion.judge(_contender(registry, candidate), current, test, gaps)


def _contender(registry: ModelRegistry, version: ModelVersion) -> Contender:
    run = registry.client.get_run(version.run_id).data
    parameters: dict[str, Any] = run.params
    months = [*parameters.get("train", "").split(","), parameters.get("calibrate")]
    return Contender(
        version.number,
        version.location,
        loader.load(version.location, sha256=version.sha256),
        tuple(filter(None, months)),
        version.rolled_back,
        _ratio_to_linear(run.metrics, parameters.get("target", "duration")),
    )


def _ratio_to_linear(errors: Mapping[str, float], target: Target) -> float | None:
    """Return the RMSE of a run's model divided by the RMSE of the run's linear baseline.

    *errors* are the metrics that the run logged.  None if they do not contain both values.
    """
    unit = UNITS[target]
    model, linear = errors.get(f"test_rmse_{unit}"), errors.get(f"baseline_linear_rmse_{unit}")
    return model / linear if model is not None and linear else None


def _print_verdict(
    candidate: ModelVersion, champion: ModelVersion | None, verdict: Verdict, console: Console
) -> None:
    name = f"Version {candidate.number} of {candidate.model}"
    if verdict.gain:
        gain = verdict.gain["rmse"]
        say(
            console,
            f"RMSE on {verdict.rides:,} rides of {verdict.month}: {verdict.rmse['candidate']:.3f}, "
            f"and {verdict.rmse['champion']:.3f} for the champion. The difference is "
            f"{gain.gain:.3f} (90% interval {gain.low:.3f} to {gain.high:.3f}); the candidate is "
            f"better in {gain.confidence:.1%} of the bootstrap samples.",
        )
    if verdict.reasons:
        say(console, f"{name} was not promoted:")
        for reason in verdict.reasons:
            say(console, f"* {reason}")
    elif champion is None:
        say(console, f"{name} is the first champion.")
    else:
        say(console, f"{name} is the champion; it replaces version {champion.number}.")
