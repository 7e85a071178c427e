"""Whoever becomes champion has met the one that is; also where many try at once."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from training import __main__ as command
from training.registry import model_registry, tracking
from training.registry.model_registry import (
    AFTER,
    CHAMPION,
    Overtaken,
    Registry,
    RegistryError,
    Version,
)
from training.registry.tracking import TrackingError


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    uri = f"sqlite:///{tmp_path_factory.mktemp('registry') / 'mlflow.db'}"
    with tracking._mlflow(uri) as mlflow:
        mlflow.MlflowClient(uri, registry_uri=uri).search_registered_models()  # makes the tables
    return uri


@pytest.fixture
def known(database: str, request: pytest.FixtureRequest) -> Iterator[Registry]:
    """A registry without a champion, and three versions."""
    with tracking.client(database) as client:
        found = Registry(client, request.node.name[:60])
        client.create_registered_model(found.model)
        for number in "123":
            client.create_model_version(found.model, f"/models/{number}", None)
        yield found


def champion(known: Registry) -> Version:
    found = known.find(CHAMPION)
    assert found is not None
    return found


def test_the_first_champion_follows_nobody(known: Registry) -> None:
    known.promote(known.version("1"), over=None)

    assert (champion(known).number, champion(known).after) == ("1", "")


def test_files_that_were_changed_since_are_not_registered_anew(known: Registry) -> None:
    known.client.create_model_version(known.model, "/models/4", "run")
    known.client.set_model_version_tag(known.model, "4", "sha256", "a" * 64)

    with pytest.raises(RegistryError, match="not those that were registered"):
        known.register("run", "m-1", "b" * 64)


def test_a_champion_remembers_whom_it_beat(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("3"), over=known.version("1"))

    assert (champion(known).number, champion(known).after) == ("3", "1")


def test_who_beat_a_champion_of_the_past_has_to_try_again(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("2"), over=known.version("1"))

    with pytest.raises(Overtaken):
        known.promote(known.version("3"), over=known.version("1"))

    assert champion(known).number == "2"


def test_of_many_who_beat_the_same_champion_one_takes_its_place(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    first = known.version("1")

    def attempt(number: str) -> bool:
        try:
            known.promote(known.version(number), over=first)
        except Overtaken:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(attempt, ["2", "3", "2", "3"]))

    assert sum(won) == 1
    assert champion(known).after == "1"


def test_who_dies_before_the_alias_has_moved_changes_nothing(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    known.client.set_model_version_tag(known.model, "2", AFTER, "1")  # and died

    assert champion(known).number == "1"
    known.promote(known.version("3"), over=known.version("1"))
    assert (champion(known).number, champion(known).after) == ("3", "1")


def test_rolling_back_goes_where_the_champion_came_from(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("2"), over=known.version("1"))

    known.roll_back(champion(known), to=known.version("1"))

    assert (champion(known).number, champion(known).after) == ("1", "")
    assert known.version("2").rolled_back


def test_two_versions_that_came_after_each_other_are_no_circle_to_go_back_in(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (tmp_path / "mlflow.db").touch()
    with model_registry.opened(uri, "duration") as known:
        known.client.create_registered_model(known.model)
        one, two = (
            known.version(known.client.create_model_version(known.model, path, None).version)
            for path in ("/models/1", "/models/2")
        )
        known.promote(one, over=None)
        known.promote(two, over=one)
        known.promote(one, over=two)
        known.roll_back(champion(known), to=two)
        assert champion(known).after == one.number

        code = command.main(["rollback", "--tracking-uri", uri])

        assert (code, champion(known).number) == (2, two.number)
    assert "Version 1 has itself been taken back; promote one." in capsys.readouterr().err


def test_only_the_champion_can_be_rolled_back(known: Registry) -> None:
    known.promote(known.version("1"), over=None)

    with pytest.raises(RegistryError, match="Version 2 is no longer the champion"):
        known.roll_back(known.version("2"), to=known.version("3"))

    assert not known.version("2").rolled_back


def test_a_lock_that_nobody_takes_away_is_named(
    known: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry, "PATIENCE", 0.1)
    known.client.create_registered_model(f"{known.model}.changing")

    with pytest.raises(RegistryError, match=r"delete the registered model .*\.changing by hand"):
        known.promote(known.version("1"), over=None)

    assert known.find(CHAMPION) is None


def test_a_fault_leaves_no_lock_behind(known: Registry) -> None:
    known.promote(known.version("1"), over=None)
    with pytest.raises(Overtaken):
        known.promote(known.version("2"), over=None)

    known.promote(known.version("2"), over=known.version("1"))

    assert champion(known).number == "2"


def test_without_a_database_there_is_no_registry(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path / 'mlflow.db'}"

    with (
        pytest.raises(TrackingError, match="train a model first"),
        model_registry.opened(nowhere, "duration"),
    ):
        pass

    assert not (tmp_path / "mlflow.db").exists()
