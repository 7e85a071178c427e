"""Settings are read from a template by the function's logical id."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from event_source_mapping.errors import MappingError
from event_source_mapping.pytest_plugin import KinesisMapping
from event_source_mapping.settings import settings_from
from event_source_mapping.template import load, mapping_of

SAM = """
Transform: AWS::Serverless-2016-10-31
Parameters:
  BatchSize: {Type: Number, Default: 4}
  Retries: {Type: Number}
Globals:
  Function: {Timeout: 20}
Resources:
  Rides:
    Type: AWS::Kinesis::Stream
    Properties: {RetentionPeriodHours: 48}
  Failed:
    Type: AWS::SQS::Queue
  Scorer:
    Type: AWS::Serverless::Function
    Properties:
      Handler: app.handler
      Events:
        Rides:
          Type: Kinesis
          Properties:
            Stream: !GetAtt Rides.Arn
            StartingPosition: TRIM_HORIZON
            BatchSize: !Ref BatchSize
            MaximumRetryAttempts: !Ref Retries
            MaximumRecordAgeInSeconds: !Ref AWS::NoValue
            BisectBatchOnFunctionError: true
            FunctionResponseTypes: [ReportBatchItemFailures]
            DestinationConfig: {OnFailure: {Destination: !GetAtt Failed.Arn}}
            MetricsConfig: {Metrics: [EventCount]}
        Hourly:
          Type: Schedule
          Properties: {Schedule: rate(1 hour)}
"""
CLOUDFORMATION = """
{"Resources": {
  "Scorer": {"Type": "AWS::Lambda::Function", "Properties": {"Timeout": 30}},
  "Live": {"Type": "AWS::Lambda::Alias", "Properties": {"FunctionName": {"Ref": "Scorer"}}},
  "Mapping": {"Type": "AWS::Lambda::EventSourceMapping", "Properties": {
    "EventSourceArn": "arn:aws:kinesis:us-east-1:123456789012:stream/rides",
    "FunctionName": {"Ref": "Live"}, "StartingPosition": "LATEST", "BatchSize": 7}}}}
"""


def template(tmp_path: Path, text: str, *replacements: tuple[str, str]) -> dict[str, Any]:
    path = tmp_path / "template.yaml"
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return load(path)


def test_a_sam_template_gives_the_settings_of_the_function(tmp_path: Path) -> None:
    mapped = mapping_of(template(tmp_path, SAM), "Scorer", parameters={"Retries": "3"})

    settings = settings_from(mapped.keywords)
    assert mapped.timeout == 20
    assert (settings.batch_size, settings.maximum_retry_attempts) == (4, 3)
    assert settings.maximum_record_age_in_seconds == -1
    assert settings.retention_period_hours == 48
    assert settings.bisect_batch_on_function_error
    assert settings.reports_failures
    assert settings.destination is not None
    assert settings.destination.service == "sqs"


def test_a_cloudformation_template_gives_the_settings_through_an_alias(tmp_path: Path) -> None:
    mapped = mapping_of(template(tmp_path, CLOUDFORMATION), "Scorer")

    settings = settings_from(mapped.keywords)
    assert (settings.batch_size, settings.starting_position) == (7, "LATEST")
    assert mapped.timeout == 30


def test_a_parameter_without_a_value_names_the_keyword(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="maximum_retry_attempts of Scorer is the parameter"):
        mapping_of(template(tmp_path, SAM), "Scorer")

    found = mapping_of(template(tmp_path, SAM), "Scorer", given={"maximum_retry_attempts": 1})
    assert found.keywords["maximum_retry_attempts"] == 1


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("!Ref BatchSize", "!If [Large, 9, 1]", "batch_size of Scorer is computed by Fn::If: give"),
        ("!GetAtt Failed.Arn", "!ImportValue q", "destination_config of Scorer is computed by"),
        ("AWS::Kinesis::Stream\n", "AWS::Kinesis::StreamConsumer\n", "Enhanced fan-out is not"),
        ("Type: Kinesis", "Type: SQS", "no function Scorer with a Kinesis event source"),
        ("  Scorer:", "  Fn::ForEach::Models:", "has loops .Fn::ForEach.: give the template that"),
        ("Type: AWS::SQS::Queue", "Type: AWS::SNS::Topic", "Destinations on SNS are not simulated"),
        ("BatchSize: !Ref BatchSize", "TumblingWindowInSeconds: 9", "Tumbling windows are not"),
        (
            "        Hourly:\n          Type: Schedule",
            "        Other:\n          Type: Kinesis",
            "reads 2 streams: choose one with event=, of Rides, Other",
        ),
    ],
)
def test_what_cannot_be_read_is_one_sentence(
    tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    source = template(tmp_path, SAM, (old, new))

    with pytest.raises(MappingError, match=sentence) as caught:
        settings_from(mapping_of(source, "Scorer", parameters={"Retries": 1}).keywords)

    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_template_is_one_sentence(tmp_path: Path) -> None:
    for text, sentence in (("{", "neither YAML nor JSON"), ("Outputs: {}", "no Resources")):
        with pytest.raises(MappingError, match=sentence):
            template(tmp_path, text)
    with pytest.raises(MappingError, match="cannot be read: No such file"):
        load(tmp_path / "absent.yaml")


def test_the_fixture_takes_a_template_and_keywords_that_replace_it(
    kinesis_mapping: KinesisMapping, tmp_path: Path
) -> None:
    template(tmp_path, SAM)
    remaining: list[int] = []

    def handler(event: dict[str, Any], context: Any) -> None:
        remaining.append(context.get_remaining_time_in_millis())

    mapping = kinesis_mapping(
        handler,
        template=tmp_path / "template.yaml",
        function="Scorer",
        parameters={"Retries": 0},
        batch_size=2,
    )
    for number in range(3):
        mapping.put(str(number))
    mapping.run()

    assert [len(call.records) for call in mapping.invocations] == [2, 1]
    assert mapping.names.function_arn.endswith(":function:Scorer")
    assert 19_000 < remaining[0] <= 20_000
    with pytest.raises(MappingError, match="Give function="):
        kinesis_mapping(handler, template=tmp_path / "template.yaml")
