"""Every champion was compared with the previous one, even if many are promoted at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from training import __main__ as command
from training.registry import model_registry, tracking
from training.registry.model_registry import (
    AFTER,
    CHAMPION,
    ChampionChanged,
    ModelRegistry,
    ModelVersion,
    RegistryError,
)
from training.registry.tracking import TrackingError


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory, new_database: Callable[[Path], str]) -> str:
    return new_database(tmp_path_factory.mktemp("registry") / "mlflow.db")


@pytest.fixture
def known(database: str, request: pytest.FixtureRequest) -> Iterator[ModelRegistry]:
    """Return a registry without a champion, and three versions."""
    with tracking.client(database) as client:
        found = ModelRegistry(client, request.node.name[:60])
        client.create_registered_model(found.model)
        for number in "123":
            client.create_model_version(found.model, f"/models/{number}", None)
        yield found


def champion(known: ModelRegistry) -> ModelVersion:
    found = known.find(CHAMPION)
    assert found is not None
    return found


def test_the_first_champion_has_no_predecessor(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)

    assert (champion(known).number, champion(known).after) == ("1", "")


def test_changed_files_are_not_registered_again(known: ModelRegistry) -> None:
    known.client.create_model_version(known.model, "/models/4", "run")
    known.client.set_model_version_tag(known.model, "4", "sha256", "a" * 64)

    with pytest.raises(RegistryError, match="have changed since"):
        known.register("run", "m-1", "b" * 64)


def test_a_champion_names_its_predecessor(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("3"), over=known.version("1"))

    assert (champion(known).number, champion(known).after) == ("3", "1")


def test_a_candidate_compared_with_a_former_champion_is_refused(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("2"), over=known.version("1"))

    with pytest.raises(ChampionChanged):
        known.promote(known.version("3"), over=known.version("1"))

    assert champion(known).number == "2"


def test_one_of_many_candidates_becomes_the_champion(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)
    first = known.version("1")

    def attempt(number: str) -> bool:
        try:
            known.promote(known.version(number), over=first)
        except ChampionChanged:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(attempt, ["2", "3", "2", "3"]))

    assert sum(won) == 1
    assert champion(known).after == "1"


def test_a_promotion_that_dies_before_it_moves_the_alias_changes_nothing(
    known: ModelRegistry,
) -> None:
    known.promote(known.version("1"), over=None)
    known.client.set_model_version_tag(known.model, "2", AFTER, "1")  # and the process died

    assert champion(known).number == "1"
    known.promote(known.version("3"), over=known.version("1"))
    assert (champion(known).number, champion(known).after) == ("3", "1")


def test_a_rollback_restores_the_previous_champion(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)
    known.promote(known.version("2"), over=known.version("1"))

    known.roll_back(champion(known), to=known.version("1"))

    assert (champion(known).number, champion(known).after) == ("1", "")
    assert known.version("2").rolled_back


def test_two_versions_cannot_be_rolled_back_to_each_other_forever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], new_database: Callable[[Path], str]
) -> None:
    uri = new_database(tmp_path / "mlflow.db")
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
    assert "Version 1 was itself rolled back: promote another one." in capsys.readouterr().err


def test_only_the_champion_can_be_rolled_back(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)

    with pytest.raises(RegistryError, match="Version 2 is no longer the champion"):
        known.roll_back(known.version("2"), to=known.version("3"))

    assert not known.version("2").rolled_back


def test_the_error_names_a_lock_that_is_never_released(
    known: ModelRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_registry, "LOCK_TIMEOUT", 0.1)
    known.client.create_registered_model(f"{known.model}.changing")

    with pytest.raises(RegistryError, match=r"delete the registered model .*\.changing by hand"):
        known.promote(known.version("1"), over=None)

    assert known.find(CHAMPION) is None


def test_an_error_releases_the_lock(known: ModelRegistry) -> None:
    known.promote(known.version("1"), over=None)
    with pytest.raises(ChampionChanged):
        known.promote(known.version("2"), over=None)

    known.promote(known.version("2"), over=known.version("1"))

    assert champion(known).number == "2"


def test_a_registry_without_a_database_is_refused(tmp_path: Path) -> None:
    nowhere = f"sqlite:///{tmp_path / 'mlflow.db'}"

    with (
        pytest.raises(TrackingError, match="train a model first"),
        model_registry.opened(nowhere, "duration"),
    ):
        pass

    assert not (tmp_path / "mlflow.db").exists()
