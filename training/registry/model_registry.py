"""The registry: which version of a model is the champion, and which one was before it.

The invariant: the alias ``champion`` names a version whose tag ``after`` names the version that it
was judged against and took the place of; nothing before the first.  Hence the tag is written
before the alias is moved, which MLflow does in one step: whoever dies in between leaves a tag on
a version that nobody follows, and the next promotion writes it anew.

MLflow moves an alias, but cannot move it only if it still is where it was.  Two promotions that
judged against the same champion would both succeed, and the second would never have met the
first.  So whoever moves it is alone, for as long as that takes: a registered model of the name
``<model>.changing`` exists meanwhile, and of several who make one at once only one can.  Judging
takes long, and is done before; who comes second finds another champion, and has to judge again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from model_service.errors import ServiceError

from ..data.dataset import Target
from . import tracking

CHAMPION = "champion"
AFTER, SHA256, ROLLED_BACK = "after", "sha256", "rolled_back"  # tags
PATIENCE = 10.0  # seconds; moving an alias takes a fraction of one
# MLflow looks up what is in the way, to say so; by then it may be gone.
TAKEN = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


class RegistryError(ServiceError):
    """There is no such version, or somebody else is at it."""


class Overtaken(Exception):
    """Another version has become the champion since a candidate was judged."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a registered model."""

    model: str
    number: str
    run_id: str
    location: str
    """As MODEL_LOCATION takes it."""
    sha256: str
    """Empty where it came into the registry by another way."""
    after: str
    """The version that was champion before; empty where none was."""
    rolled_back: str
    """When it was taken back; empty where it was not."""


@dataclass(frozen=True, slots=True)
class Registry:
    """The versions of one model; a class because it holds MLflow's client."""

    client: Any
    model: str

    def find(self, alias: str) -> Version | None:
        """The version that an alias names."""
        found = self.client.search_registered_models(f"name = '{self.model}'")
        number = found[0].aliases.get(alias) if found else None
        return None if number is None else self.version(number)

    def version(self, number: str) -> Version:
        found = self.client.get_model_version(self.model, number)
        uri = self.client.get_model_version_download_uri(self.model, number)
        return Version(
            model=self.model,
            number=str(found.version),
            run_id=found.run_id,
            location=tracking.location(uri),
            sha256=found.tags.get(SHA256, ""),
            after=found.tags.get(AFTER, ""),
            rolled_back=found.tags.get(ROLLED_BACK, ""),
        )

    def register(self, run_id: str, model_id: str, sha256: str) -> Version:
        """The version of a run's model: there is one, however often it is asked for."""
        with self._alone():
            if not self.client.search_registered_models(f"name = '{self.model}'"):
                self.client.create_registered_model(self.model)
            found = self.client.search_model_versions(
                f"name = '{self.model}' and run_id = '{run_id}'"
            )
            made = found[0] if found else self.client.create_model_version(
                self.model, self.client.get_logged_model(model_id).artifact_location, run_id,
                model_id=model_id,
            )  # fmt: skip
            if (pinned := made.tags.get(SHA256, sha256)) != sha256:
                raise RegistryError(
                    f"The files of version {made.version} of {self.model} are not those that were "
                    f"registered: their SHA-256 was {pinned}."
                )
            self.client.set_model_version_tag(self.model, made.version, SHA256, sha256)
        return self.version(made.version)

    def promote(self, version: Version, *, over: Version | None) -> None:
        """Make *version* the champion if *over* still is it; else raises `Overtaken`."""
        before = "" if over is None else over.number
        with self._alone():
            now = self.find(CHAMPION)
            if (now.number if now else "") != before:
                raise Overtaken
            self.client.set_model_version_tag(self.model, version.number, AFTER, before)
            self.client.set_registered_model_alias(self.model, CHAMPION, version.number)

    def roll_back(self, version: Version, *, to: Version) -> None:
        """Make *to* the champion again, if *version* still is it."""
        when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        with self._alone():
            now = self.find(CHAMPION)
            if now is None or now.number != version.number:
                raise RegistryError(f"Version {version.number} is no longer the champion.")
            self.client.set_model_version_tag(self.model, version.number, ROLLED_BACK, when)
            self.client.set_registered_model_alias(self.model, CHAMPION, to.number)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        lock = f"{self.model}.changing"
        give_up = time.monotonic() + PATIENCE
        while True:
            try:
                self.client.create_registered_model(lock)
                break
            except MlflowException as exc:
                if exc.error_code not in TAKEN:
                    raise
                if time.monotonic() > give_up:
                    raise RegistryError(
                        f"Somebody else has been changing {self.model} for {PATIENCE:.0f} seconds. "
                        f"If they died at it, delete the registered model {lock} by hand."
                    ) from exc
                time.sleep(0.05)
        try:
            yield
        finally:
            self.client.delete_registered_model(lock)


@contextmanager
def opened(tracking_uri: str, target: Target) -> Iterator[Registry]:
    """The registry of the models of *target*, whose errors are named."""
    with tracking.client(tracking_uri) as client:
        yield Registry(client, f"ride-{target}")


def newest_run(client: Any, experiment: str, target: Target) -> str:
    """The last run of *experiment* that finished and has a model of *target*."""
    found = client.get_experiment_by_name(experiment)
    runs: Sequence[Any] = (
        []
        if found is None
        else client.search_runs(
            [found.experiment_id],
            f"params.target = '{target}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
        )
    )
    for run in runs:
        if run.outputs and run.outputs.model_outputs:
            return str(run.info.run_id)
    raise RegistryError(f"The experiment {experiment} has no run with a model of {target}.")


def model_of(client: Any, run_id: str) -> str:
    """The id of the model that a run logged."""
    outputs = client.get_run(run_id).outputs
    if not (outputs and outputs.model_outputs):
        raise RegistryError(f"The run {run_id} logged no model.")
    return str(outputs.model_outputs[0].model_id)
