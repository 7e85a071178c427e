from __future__ import annotations

import pytest

from model_service.errors import SettingsError
from model_service.settings import Settings

GOOD = {"MODEL_LOCATION": "build/model", "TEST_RUN": "True"}

FIELD_RULE = "PREDICTION_FIELD must be a name other than ride_id and interval"


def test_unset_and_empty_mean_the_default() -> None:
    settings = Settings.from_env({**GOOD, "LOG_LEVEL": "", "PREDICTION_MAX": " "})

    assert settings == Settings(model_location="build/model", test_run=True)


def test_other_variables_are_ignored() -> None:
    assert Settings.from_env({**GOOD, "PATH": "/bin"}) == Settings.from_env(GOOD)


def test_the_older_way_to_name_a_model_still_works() -> None:
    settings = Settings.from_env(
        {"MODEL_BUCKET": "models", "RUN_ID": "abc", "REJECTS_LOCATION": "none"}
    )

    assert settings.model_path == "s3://models/1/abc/artifacts/model"


def test_the_newer_way_to_name_a_model_wins() -> None:
    settings = Settings.from_env({**GOOD, "MODEL_BUCKET": "models", "RUN_ID": "abc"})

    assert settings.model_path == "build/model"


@pytest.mark.parametrize(
    ("variable", "text", "fault"),
    [
        ("TEST_RUN", "1", "TEST_RUN must be True or False"),
        ("RETURN_PREDICTIONS", "no", "RETURN_PREDICTIONS must be True or False"),
        ("ALLOW_PICKLED_MODELS", "y", "ALLOW_PICKLED_MODELS must be True or False"),
        ("PREDICTION_MIN", "low", "PREDICTION_MIN must be a number"),
        ("PREDICTION_MAX", "inf", "PREDICTION_MAX must be a number"),
        ("PREDICTION_MAX", "-1", "PREDICTION_MIN must be less than PREDICTION_MAX"),
        (
            "PREDICTION_FIELD",
            "ride_id",
            "PREDICTION_FIELD must be a name other than ride_id and interval",
        ),
        (
            "PREDICTION_FIELD",
            "interval",
            "PREDICTION_FIELD must be a name other than ride_id and interval",
        ),
        (
            "PREDICTION_FIELD",
            "a b",
            "PREDICTION_FIELD must be a name other than ride_id and interval",
        ),
        ("MODEL_LOCATION", "s3://", "MODEL_LOCATION must be s3://bucket/prefix, or a path"),
        ("PREDICTION_MAX", "0", "PREDICTION_MIN must be less than PREDICTION_MAX"),
        ("MODEL_SHA256", "abc", "MODEL_SHA256 must be 64 hexadecimal digits"),
        ("REJECTS_LOCATION", "bucket", "REJECTS_LOCATION must be s3://bucket/prefix, or none"),
        ("KINESIS_ENDPOINT_URL", "here", "KINESIS_ENDPOINT_URL must be a URL"),
        ("LOG_LEVEL", "LOUD", "LOG_LEVEL must be a level such as INFO"),
    ],
)
def test_a_malformed_setting_is_named_with_its_rule(variable: str, text: str, fault: str) -> None:
    with pytest.raises(SettingsError) as exc:
        Settings.from_env({**GOOD, variable: text})

    assert str(exc.value) == fault


def test_a_bucket_without_a_run_names_no_model() -> None:
    with pytest.raises(SettingsError, match="MODEL_LOCATION is not set"):
        Settings.from_env({"MODEL_BUCKET": "models", "TEST_RUN": "True"})


def test_digests_may_be_in_capitals() -> None:
    assert Settings.from_env({**GOOD, "MODEL_SHA256": "AB" * 32}).model_sha256 == "AB" * 32


def test_all_faults_are_named_at_once() -> None:
    with pytest.raises(SettingsError) as exc:
        Settings.from_env({"RETURN_PREDICTIONS": "perhaps", "LOG_LEVEL": "LOUD"})

    for variable in ("RETURN_PREDICTIONS", "LOG_LEVEL", "MODEL_LOCATION", "REJECTS_LOCATION"):
        assert variable in str(exc.value)


@pytest.mark.parametrize(
    "rejects", [{"REJECTS_LOCATION": "s3://bucket"}, {"REJECTS_LOCATION": "none"}]
)
def test_outside_a_test_run_somebody_has_to_say_where_rejects_go(rejects: dict[str, str]) -> None:
    Settings.from_env({"MODEL_LOCATION": "build/model", **rejects})

    with pytest.raises(SettingsError, match="REJECTS_LOCATION is not set"):
        Settings.from_env({"MODEL_LOCATION": "build/model"})
