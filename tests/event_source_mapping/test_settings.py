"""Settings have AWS's names, defaults and limits; what is not simulated is refused."""

from __future__ import annotations

from typing import Any

import pytest

from event_source_mapping.errors import MappingError
from event_source_mapping.settings import Settings, settings_from

QUEUE = "arn:aws:sqs:us-east-1:123456789012:failed"


def test_fact_1_a_new_mapping_has_the_defaults_of_aws() -> None:
    """LocalStack's recording of AWS, test_create_kinesis_event_source_mapping."""
    settings = settings_from({})

    assert (settings.batch_size, settings.maximum_batching_window_in_seconds) == (100, 0)
    assert settings.bisect_batch_on_function_error is False
    assert settings.maximum_record_age_in_seconds == -1
    assert settings.maximum_retry_attempts == -1
    assert settings.parallelization_factor == 1
    assert settings.function_response_types == ()
    assert settings.destination is None


def test_all_settings_of_the_mapping_can_be_given_by_their_names() -> None:
    settings = settings_from(
        {
            "batch_size": 4,
            "maximum_batching_window_in_seconds": 1,
            "parallelization_factor": 2,
            "bisect_batch_on_function_error": True,
            "maximum_retry_attempts": 1,
            "maximum_record_age_in_seconds": 60,
            "function_response_types": ["ReportBatchItemFailures"],
            "starting_position": "LATEST",
            "destination_config": {"OnFailure": {"Destination": QUEUE}},
            "metrics_config": {"Metrics": ["EventCount"]},
            "enabled": True,
            "tumbling_window_in_seconds": 0,
            "filter_criteria": None,
        }
    )

    assert settings.reports_failures
    assert settings.destination is not None
    assert (settings.destination.service, settings.destination.name) == ("sqs", "failed")


@pytest.mark.parametrize(
    ("keywords", "sentence"),
    [
        ({"tumbling_window_in_seconds": 30}, "Tumbling windows are not simulated"),
        ({"filter_criteria": {"Filters": [{}]}}, "Filter criteria are not simulated"),
        ({"starting_position": "AT_TIMESTAMP"}, "AT_TIMESTAMP is not simulated"),
        ({"starting_position_timestamp": 1}, "AT_TIMESTAMP is not simulated"),
        ({"starting_position": "NOW"}, "must be TRIM_HORIZON or LATEST"),
        ({"destination_config": {"OnFailure": {"Destination": "arn:aws:sns:r:1:t"}}}, "on SNS"),
        ({"destination_config": {"OnFailure": {"Destination": f"{QUEUE}.fifo"}}}, "FIFO"),
        ({"destination_config": {"OnFailure": {"Destination": "kafka://t"}}}, "the ARN of"),
        ({"enabled": False}, "disabled"),
        ({"batch_size": 0}, "batch_size must be a whole number from 1 to 10,000"),
        ({"batch_size": True}, "batch_size must be"),
        ({"batch_size": "4"}, "batch_size must be"),
        ({"parallelization_factor": 11}, "from 1 to 10"),
        ({"maximum_record_age_in_seconds": 30}, "must be -1, or at least 60"),
        ({"maximum_retry_attempts": -2}, "from -1 to 10,000"),
        ({"bisect_batch_on_function_error": "yes"}, "must be True or False"),
        ({"function_response_types": ["All"]}, "ReportBatchItemFailures"),
        ({"function_response_types": 5}, "function_response_types must be"),
        ({"starting_position": "AT_TIMESTAMP"}, "use TRIM_HORIZON or LATEST"),
        ({"destination_config": QUEUE}, 'must be a dict: write it as {"OnFailure": {"Destination"'),
        ({"destination_config": {"Destination": QUEUE}}, "has the unknown key Destination: write"),
        ({"destination_config": {"on_failure": {}}}, "has the unknown key on_failure: write it as"),
        ({"destination_config": {"OnFailure": QUEUE}}, "OnFailure in destination_config must be a"),
        ({"destination_config": {"OnFailure": {"arn": QUEUE}}}, "OnFailure .* unknown key arn:"),
        ({"destination": QUEUE}, "destination is not a setting"),
        ({"BatchSize": 4}, "BatchSize is not a setting: did you mean batch_size?"),
        ({"MaximumRetryAttempts": 1}, "did you mean maximum_retry_attempts?"),
        ({"bisect_batch_on_function_errors": 1}, "did you mean bisect_batch_on_function_error?"),
        ({"colour": 4}, "colour is not a setting; the settings are batch_size"),
    ],
)
def test_a_setting_that_aws_or_the_simulation_refuses_is_one_sentence(
    keywords: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MappingError, match=sentence) as caught:
        settings_from(keywords)

    assert "\n" not in str(caught.value)


def test_a_destination_config_may_be_empty() -> None:
    assert settings_from({"destination_config": {"OnFailure": {}}}) == Settings()
