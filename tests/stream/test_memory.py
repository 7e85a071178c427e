"""Rejected records under Lambda's memory limit: a process may not hold what it refused.

Each test runs in a process of its own, whose address space is limited to the memory that the
template gives a function.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TEMPLATE = ROOT / "template.yaml"
MAX_GROWTH_MB = 50

STREAM = """
event = kinesis_event(*[{data}] * {number})
process = partial(
    processor.process, model=FakeModel(), target=Target(), publish=MemoryPublisher(),
    keep=MemoryRejects(), time_left=lambda: 900.0,
)
before = reset()
report = process(event)
print(len(report.rejected), peak() - before)
"""
ARCHIVE = """
line = json.dumps({{"event_id": "1", "arrived_at": "2022-06-02T09:18:34Z",
                   "data": b64encode({data}).decode()}})
path = Path(sys.argv[1], "archive.jsonl")
path.write_text((line + "\\n") * {number})
before = reset()
rejected = [chunk.parse().rejected for chunk in reader.chunks(path, name="archive")]
print(sum(map(len, rejected)), peak() - before)
"""
BEGINNING = """
import gzip, json, resource, sys
from base64 import b64encode
from functools import partial
from pathlib import Path
from aws_kinesis_agg.aggregator import RecordAggregator
from model_service.datasets.formats import reader
from model_service.scoring import Target
from model_service.stream import processor
from tests.support.factories import FakeModel, MemoryPublisher, MemoryRejects, kinesis_event

limit = int(sys.argv[2]) * 2**20
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

def memory(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(name))

def peak():
    return memory("VmHWM")

def reset():
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins again, see proc(5)
    return memory("VmRSS")

bomb = gzip.compress(bytes(1_060_000))
aggregator = RecordAggregator()
for _ in range(10):
    aggregator.add_user_record("1", bomb)
aggregate = aggregator.clear_and_get().get_contents()[2]
"""


@pytest.mark.parametrize(
    ("scenario", "data", "records", "rejections"),
    [
        (STREAM, "bomb", 200, 200),
        (ARCHIVE, "bomb", 200, 200),
        pytest.param(STREAM, "bomb", 1_000, 1_000, marks=pytest.mark.slow),
        pytest.param(STREAM, "aggregate", 300, 3_000, marks=pytest.mark.slow),
        pytest.param(ARCHIVE, "bomb", 6_000, 6_000, marks=pytest.mark.slow),
    ],
)
def test_rejected_gzips_take_less_than_fifty_megabytes(
    scenario: str, data: str, records: int, rejections: int, tmp_path: Path
) -> None:
    code = BEGINNING + scenario.format(data=data, number=records)
    limit = re.search(
        r"  MemorySize:\n    Type: Number\n    Default: (\d+)\n", TEMPLATE.read_text()
    )
    assert limit

    ran = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), limit[1]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr[-2000:]
    rejected, growth = ran.stdout.split()
    assert int(rejected) == rejections
    assert float(growth) < MAX_GROWTH_MB
