"""The calculator of capacity and costs: its goals, its laws, its options, and its sources."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import fields, replace
from math import inf
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import archive as archive_benchmark
from model_service.archive import telemetry, writer
from model_service.scoring import Target
from model_service.stream import processor
from operate.capacity import earlier, limits, streams, tables
from operate.capacity.__main__ import LATENCY, main, parse
from operate.capacity.batches import Work, batches
from operate.capacity.choices import NoDesignError, Question, cheapest, estimates
from operate.capacity.design import WINDOWS, Archive, Design, Mode, Workload
from operate.capacity.estimate import (
    ARCHIVE_BATCH,
    ARCHIVE_MB,
    ARCHIVE_WINDOW,
    estimate,
    latency,
)
from operate.capacity.figures import ASSUMED, BENCH, FIGURES, LINE, Figure
from operate.capacity.figures import TEMPLATE as TEMPLATE_SOURCE
from operate.capacity.prices import KB, PRICES, Price, Prices, rounded_up, stored
from operate.capacity.recovery import CatchUp, catch_up
from tests.support import cfn_yaml
from tests.support.factories import (
    DESTINATION,
    INVOCATION,
    FakeModel,
    MemoryPublisher,
    MemoryRejects,
    batch_line,
)
from tools import capacity_page, capacity_plots

ROOT = Path(__file__).parents[2]
TEMPLATE = cfn_yaml.read(ROOT / "template.yaml")

loads = st.floats(0.01, 1_000_000)
workloads = st.builds(
    Workload,
    rides_per_second=loads,
    record_bytes=st.integers(1, 100_000),
    models=st.integers(1, 4),
    peak=st.floats(1, 20),
)
designs = st.builds(
    Design,
    mode=st.sampled_from(Mode),
    batch_size=st.integers(1, 10_000),
    window_seconds=st.sampled_from(WINDOWS),
    parallelization=st.integers(1, 10),
    memory_mb=st.integers(128, 10_240),
    archive=st.sampled_from(Archive),
)


def question(rides: float = 1000, seconds: float = LATENCY, **made: Any) -> Question:
    return Question(Workload(rides), seconds, {"archive": Archive.BOTH, **made})


# --- the goals, and the check on the earlier design


@pytest.mark.parametrize(("rides", "mode", "most"), tables.GOALS)
def test_each_goal_is_met_with_everything_in_it(
    rides: float, mode: Mode | None, most: float
) -> None:
    one = tables.goal(rides, mode, LATENCY)

    assert one.design.archive is Archive.BOTH
    assert one.latency_seconds <= LATENCY
    assert one.dollars_a_million_rides <= most


def test_the_goal_on_demand_is_met_even_if_reads_are_rounded_up() -> None:
    usual = estimate(Workload(1000), Design())
    rounded = estimate(Workload(1000), Design(), replace(PRICES, read_rounding=KB))
    more = rounded.dollars_a_million_rides - usual.dollars_a_million_rides

    assert rounded.dollars_a_million_rides <= 0.35
    page = " ".join((ROOT / "docs/capacity.md").read_text().split())
    assert f"about ${more:.2f} more for each million rides" in page


@pytest.mark.parametrize("known", earlier.KNOWN, ids=lambda known: f"{known.rides_per_second:g}")
def test_the_earlier_design_with_firehose_is_reproduced_within_three_percent(
    known: earlier.Known,
) -> None:
    one = earlier.again(known)

    assert one.dollars_a_month == pytest.approx(known.dollars_a_month, rel=0.03)
    assert one.bill["Firehose"] == pytest.approx(known.firehose, rel=0.03)
    assert one.dollars_a_million_rides == pytest.approx(known.dollars_a_million_rides, rel=0.03)


def test_an_archive_by_a_function_saves_what_firehose_costs() -> None:
    by_function = estimate(Workload(1000), Design())
    by_firehose = estimate(Workload(1000), Design(firehose=True))

    assert by_function.bill["Lambda, archives"] < by_firehose.bill["Firehose"] / 50
    assert "Firehose" not in by_function.bill


# --- laws of the calculation


@given(workloads, designs)
def test_the_shards_take_the_peak(workload: Workload, design: Design) -> None:
    one = estimate(workload, design)
    both = streams.streams(workload.highest, workload, design, FIGURES)

    for stream, shards in zip(both, (one.shards, one.prediction_shards), strict=True):
        assert stream.load <= shards


@given(workloads, designs)
def test_every_estimate_is_a_positive_sum_of_its_bill(workload: Workload, design: Design) -> None:
    one = estimate(workload, design)

    assert min(one.bill.values()) >= 0
    assert one.dollars_a_month == sum(one.bill.values()) > 0
    assert one.concurrency >= one.shards * design.parallelization
    assert 0 < one.rides_a_batch <= design.batch_size
    assert one.latency_seconds > design.window_seconds


@given(loads, st.sampled_from(WINDOWS), st.integers(1, 10_000), st.floats(0, 1), st.floats(0, 0.01))
def test_batches_have_all_records_and_no_more_than_allowed(
    rate: float, window: float, most: int, a_batch: float, a_record: float
) -> None:
    work = Work(a_batch, a_record + 1e-6)
    found = batches(rate, window, 1.0, most, work)
    longer = batches(rate, window + 10, 1.0, most, work)

    assert found.a_second * found.records == pytest.approx(rate)
    assert 0 < found.records <= most
    assert longer.a_second <= found.a_second * (1 + 1e-9)
    assert found.gathering <= window
    if found.keep_up:  # the function is not busy for more than all the time
        assert found.a_second * found.seconds <= 1 + 1e-9


@given(workloads, designs, st.floats(1, 10))
def test_more_rides_never_cost_less_a_month(
    workload: Workload, design: Design, factor: float
) -> None:
    more = replace(workload, rides_per_second=workload.rides_per_second * factor)
    one, other = estimate(workload, design), estimate(more, design)

    # A further shard can make batches fuller, so that few calls of Lambda fewer are charged.
    assert other.dollars_a_month >= one.dollars_a_month * 0.98


@given(workloads, designs)
def test_no_load_up_to_the_peak_has_a_longer_latency(workload: Workload, design: Design) -> None:
    one = estimate(workload, design)

    for share in (0.001, 0.1, 0.5, 1.0):
        seconds = latency(workload.highest * share, workload, design)
        assert seconds <= one.latency_seconds + 1e-9


def test_on_demand_charges_every_ride_as_a_kilobyte() -> None:
    small, large = (estimate(Workload(1000, record_bytes=n), Design()) for n in (10, 1024))
    larger = estimate(Workload(1000, record_bytes=1025), Design())

    assert small.bill["Kinesis, written"] == large.bill["Kinesis, written"]
    assert larger.bill["Kinesis, written"] == pytest.approx(1.5 * large.bill["Kinesis, written"])


def test_a_provisioned_bill_is_the_one_made_by_hand() -> None:
    one = estimate(Workload(1000), Design(Mode.PROVISIONED))

    assert (one.shards, one.prediction_shards) == (4, 4)
    assert one.bill["Kinesis, shards"] == pytest.approx(8 * 730 * 0.015)
    assert one.bill["Kinesis, written"] == pytest.approx(2 * 1000 * 730 * 3600 / 1e6 * 0.014)


def test_on_demand_advantage_charges_its_minimum() -> None:
    one = estimate(Workload(1), Design(Mode.ADVANTAGE))
    gigabytes = 25 * 730 * 3600 / 1024

    assert one.bill["Kinesis, written"] == pytest.approx(gigabytes * 0.032)
    assert one.bill["Kinesis, read"] == pytest.approx(gigabytes * 0.016)


def test_storage_has_tiers() -> None:
    terabyte = 1024

    assert stored(10 * terabyte, PRICES) == pytest.approx(10 * terabyte * 0.023)
    assert stored(60 * terabyte, PRICES) == pytest.approx(terabyte * (50 * 0.023 + 10 * 0.022))
    assert stored(501 * terabyte, PRICES) == pytest.approx(
        terabyte * (50 * 0.023 + 450 * 0.022 + 0.021)
    )


def test_a_parallelized_scorer_keeps_up_where_one_lane_cannot() -> None:
    """A batch of one ride takes 25 ms, and a shard has up to 1,000 rides a second."""
    alone = estimate(Workload(1000), Design(batch_size=10))
    parallel = estimate(Workload(1000), Design(batch_size=10, parallelization=10))

    assert alone.faults == ("the scorer cannot keep up at the peak",)
    assert not parallel.faults


# --- the cheapest design


@pytest.mark.parametrize("seconds", [1.5, 3, 15, 100])
def test_the_cheapest_design_keeps_the_latency_and_none_is_cheaper(seconds: float) -> None:
    asked = question(2000, seconds)
    one = cheapest(asked)
    others = [other for other in estimates(asked) if asked.answers(other)]

    assert one.latency_seconds <= seconds
    assert one.dollars_a_month == pytest.approx(min(each.dollars_a_month for each in others))


def test_a_longer_latency_is_never_dearer() -> None:
    costs = [cheapest(question(50, seconds)).dollars_a_month for seconds in (1.5, 3, 15, 100)]

    assert costs == sorted(costs, reverse=True)


def test_choices_that_are_made_are_kept() -> None:
    made: dict[str, Any] = {
        "mode": Mode.ON_DEMAND,
        "batch_size": 77,
        "window_seconds": 2,
        "memory_mb": 2000,
    }
    one = cheapest(question(100, parallelization=3, **made))

    assert one.design == Design(**made, parallelization=3, archive=Archive.BOTH)


def test_a_latency_that_no_design_keeps_is_refused() -> None:
    with pytest.raises(NoDesignError, match=r"no design keeps a latency of 0.5 s: .* 1\.\d s"):
        cheapest(question(seconds=0.5))


# --- outages and limits


def test_catching_up_takes_as_long_as_a_queue_takes() -> None:
    fastest = CatchUp(2500, "a part")
    waiting = 600 * 1000.0  # of an outage of ten minutes
    second = 0
    while waiting > 0:
        waiting += 1000 - fastest.rides_per_second
        second += 1

    assert fastest.seconds(600, 1000) == pytest.approx(second, abs=1)
    assert fastest.seconds(600, 2500) == inf


def test_the_stream_of_predictions_limits_catching_up() -> None:
    fastest = catch_up(Workload(1000), Design(Mode.PROVISIONED))

    assert fastest.rides_per_second == 4000
    assert fastest.limit == "writing the stream of predictions"
    assert fastest.seconds(3600, 1000) == 20 * 60  # as the page says
    slow = catch_up(Workload(1000), Design(Mode.PROVISIONED, batch_size=1))
    assert slow.limit == "the scorer"


def test_a_limit_breaks_at_its_load() -> None:
    one = estimate(Workload(1_000_000), Design())
    broken = limits.exceeded(one)

    found = [limits.breaking_load(limit, one) for limit in broken]
    assert len(broken) >= 3
    assert found == sorted(found)
    for limit, rides in zip(broken, found, strict=True):
        if rides:
            above, below = (
                estimate(Workload(rides * factor), one.design) for factor in (1.01, 0.99)
            )
            assert limit.share(below) <= 1 < limit.share(above)
        else:
            assert limit.share(estimate(Workload(0.01), one.design)) > 1


# --- the command


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(arguments)
    out, err = capsys.readouterr()
    return code, out, err


def test_the_command_prints_all_choices_and_writes_json(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / "capacity.json"
    code, out, err = run(capsys, "--rides-per-second", "1000", "--json", str(path))
    found = json.loads(path.read_text())
    one = cheapest(question())

    assert (code, err) == (0, "")
    for text in (
        tables.choices(question()),
        tables.bill(one),
        tables.one_choice_at_a_time(question(), one),
    ):
        assert text in out
    assert found["dollars_a_month"] == round(one.dollars_a_month, 2)
    assert found["dollars_a_million_rides"] == round(one.dollars_a_million_rides, 4)
    assert found["shards"] == one.shards
    assert found["concurrency"] == one.concurrency
    assert found["latency_seconds"] <= LATENCY
    assert found["mode"] == "provisioned"
    assert sum(found["bill"].values()) == pytest.approx(found["dollars_a_month"], abs=0.05)


def test_every_option_changes_the_result() -> None:
    def result(*options: str) -> float:
        usual = ["--rides-per-second", "300", "--memory", "1769", "--parallelization", "1"]
        return cheapest(parse([*usual, *options]).question).dollars_a_month

    usual = result()
    for options in (
        ("--record-bytes", "3000"), ("--models", "2"), ("--peak", "20"), ("--latency", "2"),
        ("--archive", "rides"), ("--mode", "on-demand"), ("--batch-size", "50"),
        ("--batch-window", "0"), ("--parallelization", "4"), ("--memory", "512"),
    ):  # fmt: skip
        assert result(*options) != usual, options


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("", "the following arguments are required: --rides-per-second"),
        ("--rides-per-second 0", "expected a number from 0.001 to 1e+07, not '0'"),
        ("--rides-per-second -5", "expected a number from 0.001"),
        ("--rides-per-second nan", "expected a number from 0.001"),
        ("--rides-per-second inf", "expected a number from 0.001"),
        ("--rides-per-second many", "expected a number from 0.001"),
        ("--rides-per-second 9 --record-bytes 0", "expected a whole number from 1 to 1000000"),
        ("--rides-per-second 9 --models 0", "expected a whole number from 1 to 100"),
        ("--rides-per-second 9 --peak 0.5", "expected a number from 1 to 1,000"),
        ("--rides-per-second 9 --latency 0", "expected a number from 0.1"),
        ("--rides-per-second 9 --latency 0.5", "no design keeps a latency of 0.5 s"),
        ("--rides-per-second 9 --batch-window 3", "invalid choice: 3"),
        ("--rides-per-second 9 --batch-size 10001", "expected a whole number from 1 to 10000"),
        ("--rides-per-second 9 --parallelization 11", "expected a whole number from 1 to 10"),
        ("--rides-per-second 9 --memory 64", "expected a whole number from 128 to 10240"),
        (
            "--rides-per-second 9 --archive all",
            "invalid choice: 'all' (choose from",
        ),
        (
            "--rides-per-second 9 --mode free",
            "invalid choice: 'free' (choose from",
        ),
        ("--rides-per-second 9 --firehose", "unrecognized arguments: --firehose"),
        ("--rides-per-second 9 --models 9", "more than 5 functions read the stream of rides"),
        ("--rides-per-second 9 --json missing/a.json", "cannot write missing/a.json"),
    ],
)
def test_nonsense_is_refused_in_one_sentence(
    options: str,
    reason: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(capsys, *options.split())

    assert code == 2
    assert out == ""
    assert reason in err
    assert err.startswith("operate.capacity: ")
    assert err.count("\n") == 1


# --- sources


def test_every_price_names_a_page() -> None:
    prices = [getattr(PRICES, field.name) for field in fields(Prices)]
    found = [one for one in prices if isinstance(one, Price)]

    assert len(found) > 20
    for one in found:
        assert one.source.startswith("https://")
        assert one.dollars > 0
        assert one.verified == (one.year != "")


def test_every_figure_names_its_source_and_a_measured_one_its_date() -> None:
    found: list[Figure] = [getattr(FIGURES, field.name) for field in fields(FIGURES)]

    assert {one.source for one in found} == {BENCH, ASSUMED, TEMPLATE_SOURCE, LINE}
    for one in found:
        assert (one.date != "") == (one.source == BENCH)


def test_measured_times_are_those_of_the_page_of_benchmarks() -> None:
    page = (ROOT / "docs/benchmarks.md").read_text()

    assert f"| this handler | {FIGURES.handler_ms.value} ms |" in page
    assert f"| {FIGURES.archive_ms.value} ms |" in page


def test_sizes_are_those_of_what_the_service_writes() -> None:
    found = archive_benchmark.sizes(1000)

    assert FIGURES.prediction_bytes.value == pytest.approx(found["prediction_bytes"], rel=0.02)
    assert FIGURES.event_bytes.value == pytest.approx(found["event_bytes_a_record"], rel=0.02)
    for figure, name in (
        (FIGURES.archived_ride_bytes, "archive_bytes_a_ride"),
        (FIGURES.archived_prediction_bytes, "archive_bytes_a_prediction"),
    ):
        assert figure.value == pytest.approx(found[name], rel=0.05)


def test_the_log_of_a_batch_has_room_for_its_line() -> None:
    report = processor.process(
        archive_benchmark.batch(1000, archive_benchmark.rides(1000)),
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )
    line = len(batch_line(report))

    assert 2400 < line < 2700
    assert line + 400 < FIGURES.log_bytes.value


def test_the_designs_defaults_are_those_of_the_template() -> None:
    parameters = TEMPLATE["Parameters"]
    usual = Design()

    assert usual.batch_size == parameters["BatchSize"]["Default"]
    assert usual.window_seconds == parameters["BatchWindowSeconds"]["Default"]
    assert usual.parallelization == parameters["ParallelizationFactor"]["Default"]
    assert usual.memory_mb == parameters["MemorySize"]["Default"]
    assert usual.mode.upper().replace("-", "_") == parameters["StreamMode"]["Default"]
    assert usual.archive == parameters["Archive"]["Default"].lower()
    assert list(WINDOWS) == parameters["BatchWindowSeconds"]["AllowedValues"]
    assert parameters["LatencyMilliseconds"]["Default"] == LATENCY * 1000
    assert FIGURES.archive_days.value == parameters["ArchiveRetentionDays"]["Default"]


def test_the_archives_batches_are_those_of_the_template() -> None:
    [(_, archive)] = [
        (kind, body)
        for kind, _, body in resources(TEMPLATE["Resources"])
        if kind == "AWS::Serverless::Function" and "archive" in str(body.get("ImageConfig"))
    ]
    mapping = archive["Events"]["Records"]["Properties"]

    assert mapping["BatchSize"] == ARCHIVE_BATCH
    assert mapping["MaximumBatchingWindowInSeconds"] == ARCHIVE_WINDOW
    assert mapping["ParallelizationFactor"] == 1
    assert archive["MemorySize"] == ARCHIVE_MB


def test_alarms_and_composites_are_counted_in_the_template() -> None:
    def metrics(models: int) -> int:
        return sum(
            times * sum("MetricStat" in one for one in body.get("Metrics", [{"MetricStat": {}}]))
            for kind, times, body in resources(TEMPLATE["Resources"], models)
            if kind == "AWS::CloudWatch::Alarm"
        )

    composites = sum(
        times
        for kind, times, _ in resources(TEMPLATE["Resources"])
        if kind == "AWS::CloudWatch::CompositeAlarm"
    )
    assert metrics(1) == FIGURES.alarms.value
    assert metrics(2) - metrics(1) == FIGURES.alarms_more.value
    assert composites == FIGURES.composites.value


def test_the_metrics_of_a_scorer_and_of_an_archive_are_counted_in_their_lines() -> None:
    event = archive_benchmark.batch(10, archive_benchmark.rides(10))
    scored = processor.process(
        event,
        model=FakeModel(),
        target=Target(),
        publish=MemoryPublisher(),
        keep=MemoryRejects(),
        time_left=lambda: 60.0,
    )
    archived = writer.process(
        event, store=lambda objects, left: frozenset(), time_left=lambda: 60.0
    )

    assert FIGURES.metrics.value == metrics_of(batch_line(scored))
    assert FIGURES.archive_metrics.value == metrics_of(
        telemetry.log_line(archived, INVOCATION, DESTINATION)
    )


def metrics_of(line: str) -> int:
    """The number of metrics that CloudWatch makes of a line."""
    directives = json.loads(line)["_aws"]["CloudWatchMetrics"]
    return sum(len(one["Metrics"]) * len(one["Dimensions"]) for one in directives)


def resources(
    found: dict[str, Any], models: int = 1, times: int = 1
) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """The type, number and properties of each resource of the default parameters.

    Scheduled batches and decisions are turned on by parameters.
    """
    for name, body in found.items():
        if name.startswith("Fn::ForEach::"):
            _, values, inner = body
            count = len(values) if isinstance(values, list) else models
            yield from resources(inner, models, times * count)
        elif body.get("Condition") not in ("BatchIsScheduled", "RidesAreDecided"):
            yield body["Type"], times, body.get("Properties", {})


# --- the page


def test_the_page_and_its_plots_are_what_the_command_writes() -> None:
    for path, text in capacity_page.files(ROOT / "docs").items():
        assert path.read_text() == text, f"{path.name} is out of date: run make capacity"


def test_the_page_shows_every_plot_and_every_table() -> None:
    page = (ROOT / "docs/capacity.md").read_text()

    assert set(re.findall(r"\(images/(capacity-[\w-]+\.svg)\)", page)) == {*capacity_plots.PLOTS}
    assert set(re.findall(r"<!-- table: ([\w-]+) -->", page)) == {*capacity_page.TABLES}


def test_a_stale_page_is_reported_and_written_anew(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "images").mkdir()
    page = tmp_path / "capacity.md"
    page.write_text("Before.\n\n<!-- table: bill-1000 -->\nold\n<!-- end -->\n\nAfter.\n")

    assert capacity_page.main(["--check", str(tmp_path)]) == 1
    assert "run make capacity" in capsys.readouterr().err
    assert "old" in page.read_text()
    assert capacity_page.main([str(tmp_path)]) == 0
    assert capacity_page.main(["--check", str(tmp_path)]) == 0
    assert page.read_text().startswith("Before.\n\n<!-- table: bill-1000 -->\n| item |")
    assert page.read_text().endswith("** |\n<!-- end -->\n\nAfter.\n")


def test_the_page_on_deploying_states_the_costs_without_rides() -> None:
    page = " ".join((ROOT / "docs/deploy.md").read_text().split())

    for mode, text in ((Mode.ON_DEMAND, "on-demand streams"), (Mode.PROVISIONED, "provisioned")):
        one = estimate(Workload(0.001), Design(mode))
        assert re.search(rf"about \${one.dollars_a_month:.0f} (a month )?with {text}", page)


def test_sizes_are_rounded_up_as_aws_does() -> None:
    assert [rounded_up(size, 5 * KB) for size in (0, 1, 5120, 5121)] == [5120, 5120, 5120, 10240]
