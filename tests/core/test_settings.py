from __future__ import annotations

import pytest

from model_service.errors import SettingsError
from model_service.settings import BatchSettings, ScheduleSettings, Settings, WebSettings

GOOD = {"MODEL_LOCATION": "build/model", "TEST_RUN": "True"}

URL_RULE = "must be a URL such as http://localhost:4566"
NAME_RULE = "must be 1 to 128 letters, digits, underscores, dots or hyphens"
BUCKET_RULE = "must name a bucket by 3 to 63 lower-case letters, digits, dots or hyphens"
NAMESPACE_RULE = (
    "POWERTOOLS_METRICS_NAMESPACE must be at most 255 ASCII characters,"
    " and not begin with AWS/ or a colon"
)
LOCATION_RULE = "must be s3://bucket/prefix, or a path"
REJECTS_RULE = "must be s3://bucket/prefix with a prefix of at most 500 characters, or none"
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
        ("POWERTOOLS_METRICS_NAMESPACE", "AWS/Lambda", NAMESPACE_RULE),
        ("POWERTOOLS_METRICS_NAMESPACE", "n" * 256, NAMESPACE_RULE),
        (
            "POWERTOOLS_SERVICE_NAME",
            ":rides",
            "POWERTOOLS_SERVICE_NAME must be ASCII characters, and not begin with a colon",
        ),
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
        ("MODEL_LOCATION", "build/\x1b[2J", "MODEL_LOCATION must be s3://bucket/prefix, or a path"),
        ("MODEL_LOCATION", "s3://models/a\nb", f"MODEL_LOCATION {LOCATION_RULE}"),
        ("MODEL_LOCATION", "s3://models/" + 1025 * "a", f"MODEL_LOCATION {LOCATION_RULE}"),
        ("PREDICTION_FIELD", "a" * 129, FIELD_RULE),
        ("REJECTS_LOCATION", "bucket", f"REJECTS_LOCATION {REJECTS_RULE}"),
        ("REJECTS_LOCATION", "s3://rejects/\x1b[2J", f"REJECTS_LOCATION {REJECTS_RULE}"),
        ("REJECTS_LOCATION", "s3://rejects/" + 501 * "a", f"REJECTS_LOCATION {REJECTS_RULE}"),
        (
            "KINESIS_ENDPOINT_URL",
            "here",
            "KINESIS_ENDPOINT_URL must be a URL such as http://localhost:4566",
        ),
        ("KINESIS_ENDPOINT_URL", "http://a b", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("KINESIS_ENDPOINT_URL", "http://", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("KINESIS_ENDPOINT_URL", "http://a_b:80", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("KINESIS_ENDPOINT_URL", "http://a:65536", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("KINESIS_ENDPOINT_URL", "http://1.2.3:80", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("KINESIS_ENDPOINT_URL", "http://[:::]:80", f"KINESIS_ENDPOINT_URL {URL_RULE}"),
        ("PREDICTIONS_STREAM_NAME", "two words", f"PREDICTIONS_STREAM_NAME {NAME_RULE}"),
        ("PREDICTIONS_STREAM_NAME", "x" * 129, f"PREDICTIONS_STREAM_NAME {NAME_RULE}"),
        ("MODEL_NAME", "a/b", f"MODEL_NAME {NAME_RULE}"),
        ("MODEL_NAME", "..", f"MODEL_NAME {NAME_RULE}"),
        ("RUN_ID", "a/b", f"RUN_ID {NAME_RULE}"),
        ("MLFLOW_EXPERIMENT_ID", "1/2", f"MLFLOW_EXPERIMENT_ID {NAME_RULE}"),
        ("MODEL_BUCKET", "s3://models", f"MODEL_BUCKET {BUCKET_RULE}"),
        ("MODEL_LOCATION", "s3://Bad_Bucket!/model", f"MODEL_LOCATION {BUCKET_RULE}"),
        ("REJECTS_LOCATION", "s3://Bad_Bucket!", f"REJECTS_LOCATION {BUCKET_RULE}"),
        ("REJECTS_LOCATION", "s3://ab/rejects", f"REJECTS_LOCATION {BUCKET_RULE}"),
        ("REJECTS_LOCATION", "s3://a..b/rejects", f"REJECTS_LOCATION {BUCKET_RULE}"),
        ("REJECTS_LOCATION", "s3://192.168.0.1", f"REJECTS_LOCATION {BUCKET_RULE}"),
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


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("KINESIS_ENDPOINT_URL", "http://localhost:4566"),
        ("KINESIS_ENDPOINT_URL", "https://kinesis.eu-west-1.amazonaws.com/"),
        ("KINESIS_ENDPOINT_URL", "http://[::1]:65535"),
        ("PREDICTIONS_STREAM_NAME", "x" * 128),
        ("MODEL_NAME", "ride-cost_2.0"),
        ("REJECTS_LOCATION", "s3://my.bucket-1/rejects"),
        ("MODEL_LOCATION", "s3://models-hyp0dd1zq9xefbcad1e6jh7wjtmmnuse1b-s3alias/a model"),
    ],
)
def test_a_valid_name_is_accepted(variable: str, text: str) -> None:
    assert getattr(Settings.from_env({**GOOD, variable: text}), variable.lower()) == text


@pytest.mark.parametrize(
    "address",
    [
        *["!!:80", ":80", "a b:80", "-a:80", "localhost:", "localhost:port", "a:80:81", "a:65536"],
        *["256.1.1.1:80", "1.2.3:80", "::1:80", "[::1:80", "[:::]:80"],
        *["unix:/run/web", "http://localhost:80"],
    ],
)
def test_address_that_is_not_host_and_port_is_named(address: str) -> None:
    with pytest.raises(SettingsError, match=r"^BIND must be host:port$"):
        WebSettings.from_env({"MODEL_LOCATION": "m", "BIND": address})


@pytest.mark.parametrize(
    "address", ["0.0.0.0:9696", "[::]:80", "localhost:0", "my-host.example.org:65535"]
)
def test_address_of_host_and_port_is_accepted(address: str) -> None:
    assert WebSettings.from_env({"MODEL_LOCATION": "m", "BIND": address}).bind == address


@pytest.mark.parametrize(
    ("variable", "text", "rule"),
    [
        ("AWS_REGION", "a b", "must be a region such as us-east-1"),
        ("AWS_DEFAULT_REGION", "eu_west_1", "must be a region such as us-east-1"),
        ("AWS_ENDPOINT_URL", "http://a b", URL_RULE),
        ("AWS_ENDPOINT_URL_KINESIS", "localhost:4566", URL_RULE),
        ("AWS_ENDPOINT_URL_S3", "http://a:65536", URL_RULE),
    ],
)
@pytest.mark.parametrize("kind", [Settings, WebSettings, BatchSettings, ScheduleSettings])
def test_every_entry_point_checks_the_variables_of_the_aws_sdk(
    kind: type[Settings], variable: str, text: str, rule: str
) -> None:
    with pytest.raises(SettingsError, match=f"{variable} {rule}"):
        kind.from_env({variable: text})


def test_variables_of_the_aws_sdk_are_accepted() -> None:
    Settings.from_env(
        {**GOOD, "AWS_REGION": "us-gov-west-1", "AWS_ENDPOINT_URL": "http://localhost:4566"}
    )


def test_every_entry_point_names_a_malformed_bucket_or_port() -> None:
    with pytest.raises(SettingsError, match=f"ARCHIVE_LOCATION {BUCKET_RULE}"):
        ScheduleSettings.from_env(
            {"ARCHIVE_LOCATION": "s3://A/b", "OUTPUT_LOCATION": "s3://out/b", "BATCH_WINDOW": "day"}
        )
    with pytest.raises(SettingsError, match=r"COST_MODEL_LOCATION must name .*BIND must be"):
        WebSettings.from_env(
            {"MODEL_LOCATION": "m", "COST_MODEL_LOCATION": "s3://A/b", "BIND": "localhost:65536"}
        )
