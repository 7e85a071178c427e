"""The model registry: the versions of a model, its champion, and the previous champion.

The invariant: the alias ``champion`` names a version, and the tag ``after`` of this version names
the champion that it was compared with and replaced.  The tag of the first champion is empty.  So
the tag is written first, and then the alias is moved, which is one step in MLflow.  If a process
dies between the two, a version that is not the champion has a tag; the next promotion of that
version overwrites the tag.

MLflow cannot move an alias on the condition that no other process has moved it.  Without a lock,
two candidates that were compared with the same champion could both be promoted, although the second
was not compared with the first.  So an alias is moved under a lock: the registered model
``<model>.changing``, which only one process can create.  The comparison takes long, so it is done
before the lock is taken.  If the champion has changed by then, the process has to compare again.
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
LOCK_TIMEOUT = 10.0  # seconds; moving an alias takes less than one second
# MLflow looks up the existing model for its error message; it may have been deleted by then.
LOCKED = ("RESOURCE_ALREADY_EXISTS", "RESOURCE_DOES_NOT_EXIST")


class RegistryError(ServiceError):
    """There is no such version, or another process is changing the registry."""


class ChampionChanged(Exception):
    """Another version has become the champion since the candidate was compared with it."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a registered model."""

    model: str
    number: str
    run_id: str
    location: str
    """The location in the form of MODEL_LOCATION."""
    sha256: str
    """The SHA-256 of the model's files; empty if the version was not registered by this code."""
    after: str
    """The number of the champion that this version replaced; empty if there was none."""
    rolled_back: str
    """The time at which this version was rolled back; empty if it was not rolled back."""


@dataclass(frozen=True, slots=True)
class ModelRegistry:
    """The versions of one registered model.  It is a class because it holds MLflow's client."""

    client: Any
    model: str

    def find(self, alias: str) -> ModelVersion | None:
        """Return the version to which *alias* points, or None if there is no such alias."""
        found = self.client.search_registered_models(f"name = '{self.model}'")
        number = found[0].aliases.get(alias) if found else None
        return None if number is None else self.version(number)

    def get(self, alias: str) -> ModelVersion:
        """Return the version to which *alias* points.

        Raises `RegistryError` if there is no such alias.
        """
        found = self.find(alias)
        if found is None:
            raise RegistryError(f"No version of {self.model} has the alias {alias}: promote one.")
        return found

    def version(self, number: str) -> ModelVersion:
        """Return the version whose number is *number*."""
        found = self.client.get_model_version(self.model, number)
        uri = self.client.get_model_version_download_uri(self.model, number)
        return ModelVersion(
            model=self.model,
            number=str(found.version),
            run_id=found.run_id,
            location=tracking.location(uri),
            sha256=found.tags.get(SHA256, ""),
            after=found.tags.get(AFTER, ""),
            rolled_back=found.tags.get(ROLLED_BACK, ""),
        )

    def register(self, run_id: str, model_id: str, sha256: str) -> ModelVersion:
        """Return the version of a run's model; create the version if it does not exist.

        *run_id* and *model_id* are MLflow's ids, and *sha256* is the SHA-256 of the model's files.

        Raises `RegistryError` if the files of the model have changed since its registration.
        """
        with self._locked():
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
                    f"The files of version {made.version} of {self.model} have changed since "
                    f"it was registered: their SHA-256 was {pinned}."
                )
            self.client.set_model_version_tag(self.model, made.version, SHA256, sha256)
        return self.version(made.version)

    def promote(self, version: ModelVersion, *, over: ModelVersion | None) -> None:
        """Make *version* the champion.

        *over* is the champion with which *version* was compared, or None if there was no champion.
        Raises `ChampionChanged` if *over* is no longer the champion.
        """
        before = "" if over is None else over.number
        with self._locked():
            now = self.find(CHAMPION)
            if (now.number if now else "") != before:
                raise ChampionChanged
            self.client.set_model_version_tag(self.model, version.number, AFTER, before)
            self.client.set_registered_model_alias(self.model, CHAMPION, version.number)

    def roll_back(self, version: ModelVersion, *, to: ModelVersion) -> None:
        """Make *to* the champion again.

        Raises `RegistryError` if *version* is no longer the champion.
        """
        when = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        with self._locked():
            now = self.find(CHAMPION)
            if now is None or now.number != version.number:
                raise RegistryError(f"Version {version.number} is no longer the champion.")
            self.client.set_model_version_tag(self.model, version.number, ROLLED_BACK, when)
            self.client.set_registered_model_alias(self.model, CHAMPION, to.number)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        lock = f"{self.model}.changing"
        deadline = time.monotonic() + LOCK_TIMEOUT
        while True:
            try:
                self.client.create_registered_model(lock)
                break
            except MlflowException as exc:
                if exc.error_code not in LOCKED:
                    raise
                if time.monotonic() > deadline:
                    raise RegistryError(
                        f"Another process has been changing {self.model} for {LOCK_TIMEOUT:.0f} "
                        f"seconds. If none is running, delete the registered model {lock} by hand."
                    ) from exc
                time.sleep(0.05)
        try:
            yield
        finally:
            self.client.delete_registered_model(lock)


@contextmanager
def opened(tracking_uri: str, target: Target, name: str | None = None) -> Iterator[ModelRegistry]:
    """Open the registry of models of *target*; MLflow's errors are raised as `TrackingError`.

    *name* is the name of the registered model, by default ``ride-duration`` or ``ride-cost``.
    """
    with tracking.client(tracking_uri) as client:
        yield ModelRegistry(client, name or f"ride-{target}")


def newest_run(client: Any, experiment: str, target: Target) -> str:
    """Return the id of the newest finished run of *experiment* with a model of *target*.

    Raises `RegistryError` if there is no such run.
    """
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
    """Return the id of the first model that a run logged.

    Raises `RegistryError` if the run did not log a model.
    """
    found = models_of(client, run_id)
    if not found:
        raise RegistryError(f"The run {run_id} logged no model.")
    return found[0]


def models_of(client: Any, run_id: str) -> list[str]:
    """Return the ids of all models that a run logged."""
    outputs = client.get_run(run_id).outputs
    return [str(one.model_id) for one in outputs.model_outputs] if outputs else []
