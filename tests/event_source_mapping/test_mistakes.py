"""A mistake in a test is refused where it is made, with one sentence that says what to do."""

from __future__ import annotations

import base64
import json
import logging
from typing import Any

import pytest

from event_source_mapping.errors import MappingError
from event_source_mapping.pytest_plugin import KinesisMapping


def works(event: dict[str, Any], context: Any) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"handler": "module.works"}, "The handler must be a function, not its name: import it"),
        ({"function": "Scorer"}, "function= needs template=: add the template, or leave function="),
        ({"parameters": {"BatchSize": 4}}, "parameters= needs template="),
        ({"event": "Rides"}, "event= needs template="),
        ({"stream": "rides"}, "stream= must be the stream of another mapping: mapping.stream"),
        ({"shards": 0}, "shards must be a whole number of at least 1"),
        ({"shards": "2"}, "shards must be a whole number of at least 1"),
        ({"timeout": -1}, "timeout must be a number of seconds, and at least 0"),
        ({"duration": "1"}, "duration must be a number of seconds, and at least 0"),
        ({"faults": 5}, "faults must be a text, such as 'handler fails once', or a list"),
        ({"faults": [5]}, "faults must be a text"),
        ({"Timeout": 5}, "Timeout is not a setting: did you mean timeout?"),
        ({"shard": 5}, "shard is not a setting: did you mean shards?"),
    ],
)
def test_an_argument_of_the_wrong_kind_is_one_sentence(
    kinesis_mapping: KinesisMapping, arguments: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(MappingError) as caught:
        kinesis_mapping(**{"handler": works} | arguments)

    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_message_about_an_unknown_keyword_lists_all_keywords(
    kinesis_mapping: KinesisMapping,
) -> None:
    with pytest.raises(MappingError) as caught:
        kinesis_mapping(works, colour="red")

    settings, others = str(caught.value).split(", and the other keywords are ")
    assert "batch_size" in settings
    assert {"shards", "timeout", "duration", "faults", "parameters", "template"} <= {
        *others.removesuffix(".").split(", ")
    }


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (["x"], "put takes bytes, text or a dict, not list: for other JSON, put json.dumps"),
        (5, "put takes bytes, text or a dict, not int"),
        (None, "put takes bytes, text or a dict, not NoneType"),
        ({"key": {1}}, "put cannot write the dict as JSON"),
    ],
)
def test_data_of_another_type_is_refused_in_put(
    kinesis_mapping: KinesisMapping, data: Any, sentence: str
) -> None:
    mapping = kinesis_mapping(works)

    with pytest.raises(MappingError) as caught:
        mapping.put(data)

    assert sentence in str(caught.value)
    mapping.run()
    assert mapping.invocations == []


@pytest.mark.parametrize("key", [5, "", None])
def test_a_partition_key_is_text(kinesis_mapping: KinesisMapping, key: Any) -> None:
    with pytest.raises(MappingError, match="partition_key must be a text that is not empty"):
        kinesis_mapping(works).put("1", partition_key=key)


@pytest.mark.parametrize("seconds", [-5, float("nan"), float("inf"), "5", True])
def test_the_clock_moves_forward_by_a_number_of_seconds(
    kinesis_mapping: KinesisMapping, seconds: Any
) -> None:
    mapping = kinesis_mapping(works)

    for move in (mapping.wait, mapping.run):
        with pytest.raises(MappingError, match="seconds must be a number of seconds, and at leas"):
            move(seconds)
    assert mapping.now == 0


def test_an_unknown_record_in_a_response_is_named(kinesis_mapping: KinesisMapping) -> None:
    def reports(event: dict[str, Any], context: Any) -> dict[str, Any]:
        return {"batchItemFailures": [{"itemIdentifier": "77"}]}

    mapping = kinesis_mapping(
        reports, function_response_types=["ReportBatchItemFailures"], maximum_retry_attempts=0
    )
    mapping.put("1")
    mapping.run()

    assert str(mapping.invocations[0].error).startswith("the response names '77', which is not")


def test_each_exception_has_one_traceback_in_the_log(
    kinesis_mapping: KinesisMapping, caplog: pytest.LogCaptureFixture
) -> None:
    def raises(event: dict[str, Any], context: Any) -> None:
        json.loads(base64.b64decode(event["Records"][0]["kinesis"]["data"]))

    with caplog.at_level(logging.WARNING):
        mapping = kinesis_mapping(raises, batch_size=1, maximum_retry_attempts=3)
        mapping.put("bad")
        mapping.put("[1")
        mapping.run()

    assert len(caplog.records) == len(mapping.invocations) == 8
    again = [record.getMessage().startswith("the function failed again: JSONDecodeError: ")
             for record in caplog.records]  # fmt: skip
    assert again == [False, True, True, True] * 2
    assert [record.exc_info is None for record in caplog.records] == again
    assert caplog.text.count("Traceback") == 2


def test_a_mapping_that_was_refused_can_be_created_after_all(
    kinesis_mapping: KinesisMapping,
) -> None:
    stream = kinesis_mapping(lambda event, context: None).stream
    with pytest.raises(MappingError):
        kinesis_mapping(works, stream=stream, batch_size=0)

    assert kinesis_mapping(works, stream=stream).stream is stream
