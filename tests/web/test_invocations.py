"""MLflow's protocol, through Flask's test client and through MLflow's own client."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

import mlflow
import pytest
from flask.testing import FlaskClient

from local.aws.lambda_container import HOST
from model_service import rides
from model_service.models.served import Models, Served
from model_service.scoring import Target
from model_service.web import app as web
from model_service.web import invocations, quotes

from ..support import models
from ..support.factories import by_distance
from .test_server import server

NAMES = ["PULocationID", "DOLocationID", "trip_distance"]
ROWS = [[130, 205, 3.66], [7, 8.0, 1.23456]]
RECORDS = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
FORMATS: dict[str, dict[str, Any]] = {
    "split": {"dataframe_split": {"columns": NAMES, "data": ROWS, "index": [4, 5]}},
    "records": {"dataframe_records": RECORDS},
    "inputs": {"inputs": {name: [row[n] for row in ROWS] for n, name in enumerate(NAMES)}},
    "input records": {"inputs": RECORDS},
    "instances": {"instances": RECORDS},
}


class ByDistance:
    version = "by-distance"
    seconds = 0.0

    def predict(self, rides: Any, /) -> Any:
        return by_distance(rides)


@pytest.fixture
def client() -> FlaskClient:
    served = Models(Served(ByDistance(), Target()))
    return web.create_app(served, write=print).test_client()


@pytest.mark.parametrize("name", list(FORMATS))
def test_each_format_gets_unrounded_durations(client: FlaskClient, name: str) -> None:
    answer = client.post("/invocations", json=FORMATS[name])
    one_by_one = [client.post("/predict", json=row).get_json()["duration"] for row in RECORDS]

    assert answer.status_code == 200
    predictions = answer.get_json()["predictions"]
    assert [round(value, 2) for value in predictions] == one_by_one
    assert predictions != one_by_one


@pytest.mark.parametrize("value", [[[130, 205, 3.66]], [130, 205], 5, None, "rides"])
@pytest.mark.parametrize("name", ["inputs", "instances"])
def test_nameless_tensors_are_refused_in_a_sentence(
    client: FlaskClient, name: str, value: Any
) -> None:
    answer = client.post("/invocations", json={name: value})

    assert answer.status_code == 422
    assert "has no names of columns" in answer.get_json()["detail"]


@pytest.mark.parametrize(
    ("row", "detail"),
    [
        ({**RECORDS[0], "PULocationID": 266}, "row 2: Expected `int` <= 265 - at `$.PULocationID`"),
        ({**RECORDS[0], "trip_distance": "Jane"}, "row 2: Expected `float`, got `str`"),
        ({"trip_distance": 1}, "row 2: Object missing required field `PULocationID`"),
    ],
)
def test_one_invalid_row_refuses_the_request_and_is_named(
    client: FlaskClient, row: dict[str, Any], detail: str
) -> None:
    answer = client.post("/invocations", json={"dataframe_records": [*RECORDS, row]})

    problem = answer.get_json()
    assert (answer.status_code, problem["row"]) == (422, 2)
    assert problem["detail"].startswith(detail)
    assert "Jane" not in answer.text


@pytest.mark.parametrize("row", [5, None, "Jane", [130, 205, 3.66]])
@pytest.mark.parametrize("name", ["dataframe_records", "inputs", "instances"])
def test_a_row_that_is_not_an_object_is_named(client: FlaskClient, name: str, row: Any) -> None:
    answer = client.post("/invocations", json={name: [*RECORDS, row]})

    problem = answer.get_json()
    assert (answer.status_code, problem["row"]) == (422, 2)
    assert problem["detail"].startswith("row 2: Expected `object`, got")
    assert "Jane" not in answer.text


TIME = "lpep_pickup_datetime"


@pytest.mark.parametrize("moment", ["2021-03-01 08:15:00", "2021-03-01T08:15:00", 1614604500000])
@pytest.mark.parametrize(
    "misnamed",
    [
        lambda ride: {"dataframe_records": [ride]},
        lambda ride: {"instances": [{**ride, "pickup_datetime": None}]},
        lambda ride: {"inputs": {name: [value] for name, value in ride.items()}},
        lambda ride: {"dataframe_split": {"columns": [*ride], "data": [[*ride.values()]]}},
    ],
    ids=["records", "instances", "inputs", "split"],
)
def test_a_time_under_another_name_is_refused_with_the_right_name(
    client: FlaskClient, misnamed: Callable[[Any], Any], moment: Any
) -> None:
    answer = client.post("/invocations", json=misnamed({**RECORDS[0], TIME: moment}))

    problem = answer.get_json()
    assert answer.status_code == 422
    assert (problem["row"], problem["field"]) == (0, TIME)
    assert problem["detail"] == f"row 0: Expected the name `pickup_datetime` - at `$.{TIME}`"


@pytest.mark.parametrize(
    "more",
    [
        {TIME: "2021-03-01 08:15:00", "pickup_datetime": "2021-03-01T08:15"},
        {TIME: None},
        {"lpep_dropoff_datetime": "2021-03-01 08:15:00", "pickup_zone": "Jamaica"},
    ],
)
def test_other_unknown_columns_are_ignored(client: FlaskClient, more: dict[str, Any]) -> None:
    answer = client.post("/invocations", json={"dataframe_records": [{**RECORDS[0], **more}]})

    assert answer.status_code == 200


def test_ride_that_cannot_be_scored_refuses_the_request_and_is_named() -> None:
    served = Models(Served(ByDistance(), Target(maximum=10.0)))
    client = web.create_app(served, write=print).test_client()

    answer = client.post("/invocations", json={"dataframe_records": [RECORDS[1], RECORDS[0]]})

    assert (answer.status_code, answer.get_json()["row"]) == (422, 1)
    assert answer.get_json()["type"] == "/docs#unscorable"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"rows": RECORDS},
        {**FORMATS["split"], **FORMATS["records"]},
        {"dataframe_split": {"columns": NAMES}},
        {"dataframe_split": {"columns": [*NAMES, NAMES[0]], "data": []}},
        {"dataframe_split": {"columns": NAMES, "data": [[130, 205]]}},
        {"inputs": {"PULocationID": [130], "DOLocationID": [205, 206], "trip_distance": [3.66]}},
        {"inputs": dict.fromkeys(NAMES, 1)},
        [RECORDS],
    ],
)
def test_malformed_request_gets_a_problem(client: FlaskClient, body: Any) -> None:
    answer = client.post("/invocations", json=body)

    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"


@pytest.mark.parametrize("name", ["dataframe_split", "inputs"])
def test_long_name_of_an_ignored_column_is_not_repeated_for_each_row(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    read: list[int] = []

    def decode_bare(data: bytes, now: datetime) -> rides.BareRide:
        read.append(len(bytes(data)))
        return original(data, now)

    original = rides.decode_bare
    monkeypatch.setattr(rides, "decode_bare", decode_bare)
    columns, rows = [*NAMES, "x" * 100_000], 100
    table: Any = {"columns": columns, "data": [[130, 205, 3.66, 1]] * rows}
    if name == "inputs":
        table = dict(zip(columns, zip(*table["data"], strict=True), strict=True))

    assert client.post("/invocations", json={name: table}).status_code == 200
    assert len(read) == rows
    assert sum(read) < 100 * rows


def test_no_rows_get_no_predictions(client: FlaskClient) -> None:
    bodies: list[dict[str, Any]] = [{"inputs": []}, {"instances": {}}, {"dataframe_records": []}]
    for body in bodies:
        assert client.post("/invocations", json=body).get_json() == {"predictions": []}


def test_limit_is_the_size_of_the_body(client: FlaskClient) -> None:
    body = json.dumps({"dataframe_records": RECORDS}).encode()
    fits, large = body.ljust(quotes.MAX_BODY), body.ljust(quotes.MAX_BODY + 1)

    statuses = [
        client.post("/invocations", data=data, content_type="application/json").status_code
        for data in (fits, large)
    ]
    assert statuses == [200, 413]


def test_ping_and_version_answer_as_mlflow_does(client: FlaskClient) -> None:
    assert client.get("/ping").status_code == 200
    assert client.get("/version").text == mlflow.__version__ == invocations.MLFLOW_VERSION


def test_metrics_count_the_rows(client: FlaskClient) -> None:
    client.post("/invocations", json=FORMATS["records"])
    client.post("/invocations", json={"dataframe_records": [{}]})

    counted = client.get("/metrics").text
    assert 'rides_total{outcome="quoted"} 2.0' in counted
    assert 'rides_total{outcome="invalid"} 1.0' in counted


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with server(models.write_onnx(tmp_path_factory.mktemp("line"))) as (_, port):
        yield port


@pytest.mark.slow
def test_mlflows_own_client_gets_the_durations(port: int) -> None:
    import pandas as pd
    from mlflow.pyfunc.scoring_server.client import ScoringServerClient

    client = ScoringServerClient(HOST, port)
    client.wait_server_ready(timeout=30, scoring_server_proc=None)
    frame = pd.DataFrame(RECORDS)

    for data in (frame, json.dumps(FORMATS["split"]), json.dumps(FORMATS["inputs"])):
        found = client.invoke(data).get_predictions()
        assert found.iloc[:, 0].tolist() == pytest.approx([5 * 3.66 + 2, 5 * 1.23456 + 2])
    assert client.get_version() == mlflow.__version__
    with pytest.raises(Exception, match="row 1"):
        client.invoke(pd.DataFrame([RECORDS[0], {**RECORDS[0], "PULocationID": 0}]))
