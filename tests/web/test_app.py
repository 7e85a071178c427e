"""The routes of the web service, through Flask's test client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask.testing import FlaskClient
from werkzeug.test import EnvironBuilder, run_wsgi_app

from model_service.errors import ModelError, SettingsError
from model_service.models import loader
from model_service.models.description import TrainingRides
from model_service.models.served import Models, Served, load
from model_service.scoring import Answers, Target
from model_service.settings import WebSettings
from model_service.web import app as web
from model_service.web import field_names, pages, quotes
from tests.support.golden import GoldenModel

from ..support import golden, models
from ..support.factories import by_distance

RIDE = {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}


class Broken:
    version = "broken"
    seconds = 0.0

    def predict(self, rides: Any, /) -> Any:
        raise RuntimeError("Jane Doe")


class ByDistance:
    version = "by-distance"
    seconds = 0.0

    def predict(self, rides: Any, /) -> Any:
        return by_distance(rides)


class Ranged:
    """Predicts the distance, and half and twice the distance as its interval."""

    version = "ranged"
    seconds = 0.0

    def predict(self, rides: Any, /) -> Answers:
        miles = rides.distance
        return Answers(miles, np.stack([miles / 2, miles * 2], axis=1))


def client_of(served: Models, lines: list[bytes] | None = None) -> FlaskClient:
    app = web.create_app(served, write=(lines if lines is not None else []).append)
    return app.test_client()


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that predicts five minutes per mile, plus two."""
    return models.write_onnx(tmp_path_factory.mktemp("line"))


@pytest.fixture
def served(line: Path) -> Models:
    return load(WebSettings(model_location=str(line)))


@pytest.fixture
def client(served: Models) -> FlaskClient:
    return client_of(served)


@pytest.mark.parametrize("body", [RIDE, {"ride": RIDE}], ids=["bare", "wrapped"])
def test_predict_returns_the_duration(client: FlaskClient, body: dict[str, Any]) -> None:
    answer = client.post("/predict", json=body)

    assert answer.status_code == 200
    assert answer.get_json() == {
        "duration": pytest.approx(20.3),
        "versions": {"duration": models.RUN_ID},
    }


def test_cost_model_adds_the_cost(line: Path) -> None:
    settings = WebSettings(model_location=str(line), cost_model_location=str(line))

    answer = client_of(load(settings)).post("/predict", json={**RIDE, "ride_id": 256})

    assert answer.get_json() == {
        "duration": pytest.approx(20.3),
        "cost": pytest.approx(20.3),
        "versions": {"duration": models.RUN_ID, "cost": models.RUN_ID},
        "ride_id": 256,
    }


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({**RIDE, "PULocationID": 266}, 422, "PULocationID"),
        ({"ride": {**RIDE, "trip_distance": "Jane Doe"}}, 422, "trip_distance"),
        ({"PULocationID": 130, "DOLocationID": 205}, 422, "trip_distance"),
        ([RIDE], 422, None),
    ],
)
def test_invalid_ride_gets_a_problem_with_its_field_and_without_its_value(
    client: FlaskClient, body: Any, status: int, field: str | None
) -> None:
    answer = client.post("/predict", json=body)

    assert answer.status_code == status
    assert answer.content_type == "application/problem+json"
    assert answer.get_json().get("field") == field
    assert "Jane" not in answer.text
    assert "266" not in answer.text


@pytest.mark.parametrize("body", [b"a ride", b'{"ride": ', b"\xff", b'{"x":' * 100_000])
def test_body_that_is_not_json_gets_400(client: FlaskClient, body: bytes) -> None:
    answer = client.post("/predict", data=body, content_type="application/json")

    assert answer.status_code == 400
    assert answer.get_json()["type"] == "/docs#malformed"


def test_other_content_types_and_large_bodies_are_rejected(client: FlaskClient) -> None:
    text = client.post("/predict", data=b"{}", content_type="text/plain")
    large = client.post(
        "/predict", data=b" " * (quotes.MAX_BODY + 1), content_type="application/json"
    )

    assert (text.status_code, large.status_code) == (415, 413)


@pytest.mark.parametrize(("encoding", "status"), [("Identity", 200), ("GZIP", 415)])
def test_names_of_encodings_are_compared_without_case(
    client: FlaskClient, encoding: str, status: int
) -> None:
    answer = client.post("/predict", json=RIDE, headers={"Content-Encoding": encoding})

    assert answer.status_code == status


def test_batch_returns_quotes_for_valid_rides_and_problems_for_others(client: FlaskClient) -> None:
    answer = client.post("/predict/batch", json=[RIDE, {**RIDE, "DOLocationID": 0}, "x", RIDE])

    first, second, third, fourth = answer.get_json()
    assert answer.status_code == 200
    assert first == fourth == {"duration": pytest.approx(20.3), "versions": first["versions"]}
    assert (second["status"], second["field"]) == (422, "DOLocationID")
    assert third["status"] == 422


def test_batch_accepts_at_most_1000_rides(client: FlaskClient) -> None:
    assert client.post("/predict/batch", json=[]).get_json() == []
    assert client.post("/predict/batch", json=[RIDE] * 1000).status_code == 200
    assert client.post("/predict/batch", json=[RIDE] * 1001).status_code == 422


def test_prediction_outside_its_range_gets_a_problem() -> None:
    served = Models(Served(ByDistance(), Target(maximum=1.0)))

    answer = client_of(served).post("/predict", json=RIDE)

    assert answer.status_code == 422
    assert answer.get_json()["type"] == "/docs#unscorable"


def test_broken_model_gets_503_and_logs_no_customer_data() -> None:
    lines: list[bytes] = []
    client = client_of(Models(Served(Broken(), Target())), lines)

    answers = [client.post("/predict", json=RIDE), client.get("/readyz")]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert client.get("/livez").status_code == 200
    assert b"Jane" not in b"".join(lines)


def test_readyz_reports_a_missing_cost_model(client: FlaskClient) -> None:
    ready = client.get("/readyz").get_json()

    assert ready["duration"] == {"version": models.RUN_ID}
    assert ready["cost"] is None


def test_every_request_gets_an_id_security_headers_and_a_log_line(served: Models) -> None:
    lines: list[bytes] = []
    client = client_of(served, lines)

    given = client.post("/predict", json=RIDE, headers={"X-Request-ID": "a-1"})
    other = client.get("/nowhere/Jane", headers={"X-Request-ID": "two words"})

    assert given.headers["X-Request-ID"] == "a-1"
    assert len(other.headers["X-Request-ID"]) == 32
    assert "default-src 'none'" in given.headers["Content-Security-Policy"]
    assert given.headers["Cache-Control"] == "no-store"
    first, second = map(json.loads, lines)
    assert (first["route"], first["status"], first["rides"]) == ("/predict", 200, 1)
    assert (second["route"], second["status"]) == ("other", 404)
    assert b"Jane" not in lines[1]


def test_metrics_count_requests_and_rides(client: FlaskClient) -> None:
    client.post("/predict", json=RIDE)
    client.post("/predict", json={})
    client.post("/predict", data=b"{", content_type="application/json")

    counted = client.get("/metrics").text
    assert 'http_requests_total{route="/predict",status="200"} 1.0' in counted
    assert 'http_requests_total{route="/predict",status="422"} 1.0' in counted
    assert 'http_requests_total{route="/predict",status="400"} 1.0' in counted
    assert 'rides_total{outcome="quoted"} 1.0' in counted
    assert 'rides_total{outcome="invalid"} 1.0' in counted  # a body without JSON is not a ride


@pytest.mark.parametrize("path", ["/predict", "/predict/batch"])
def test_wrong_method_gets_405_with_the_allowed_one(client: FlaskClient, path: str) -> None:
    answer = client.get(path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")


def test_every_documented_path_is_served(client: FlaskClient, served: Models) -> None:
    document = client.get("/openapi.json").get_json()
    app: Any = client.application

    routes = {rule.rule for rule in app.url_map.iter_rules()}
    assert document["openapi"].startswith("3.1")
    assert {"/predict", "/predict/batch", "/livez", "/readyz", "/metrics"} <= set(document["paths"])
    assert {path.replace("{", "<path:").replace("}", ">") for path in document["paths"]} <= routes
    assert "Predict" in client.get("/docs").text or "/predict" in client.get("/docs").text


def test_api_reference_joins_several_types_of_a_field_with_or(client: FlaskClient) -> None:
    page = client.get("/docs").text

    assert "string or null" in page
    assert not re.findall(r"<dd>[^<]*\[[^<]*</dd>", page)  # a list as Python prints it


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/predict//batch", [404, 404]),
        ("//predict", [405, 422]),
        ("/page//page.js", [404, 404]),
        ("/docs/", [404, 404]),
        ("", [308, 404]),  # from "GET http://host HTTP/1.1", or below a prefix
    ],
)
def test_no_redirect_goes_to_the_host_that_the_client_names(
    client: FlaskClient, path: str, statuses: list[int]
) -> None:
    answers = [
        client.open(
            method=method,
            json={},
            headers={"X-Forwarded-Prefix": "/taxi", "Host": "rides.example"},
            environ_overrides={"PATH_INFO": path},
        )
        for method in ("GET", "POST")
    ]

    assert [answer.status_code for answer in answers] == statuses
    assert {answer.headers.get("Location", "/taxi/") for answer in answers} == {"/taxi/"}


def test_zones_are_revalidated_with_their_etag(client: FlaskClient) -> None:
    first = client.get("/zones.json")
    again = client.get("/zones.json", headers={"If-None-Match": first.headers["ETag"]})

    assert len(first.get_json()["zones"]) == 263
    assert first.get_json()["zones"][129]["name"] == "Jamaica"
    assert (again.status_code, again.data) == (304, b"")


def test_models_json_names_the_models_and_the_rides_on_which_they_were_trained() -> None:
    rides = TrainingRides("tlc", ("2021-01", "2021-02"), rides=9, longest_miles=21.5)
    duration = Served(ByDistance(), Target(), training_rides=rides)

    both = client_of(Models(duration, Served(ByDistance(), Target()))).get("/models.json")
    one = client_of(Models(duration)).get("/models.json")

    described = {
        "version": ByDistance.version,
        "training_rides": {
            "source": "tlc", "months": ["2021-01", "2021-02"], "rides": 9, "longest_miles": 21.5,
        },
    }  # fmt: skip
    unknown = {"version": ByDistance.version, "training_rides": None}
    assert both.get_json() == {"duration": described, "cost": unknown}
    assert one.get_json() == {"duration": described, "cost": None}
    assert both.headers["ETag"] != one.headers["ETag"]


def test_index_html_preloads_every_script(client: FlaskClient) -> None:
    requested = set(re.findall(r'(?:href|src)="page/(\w+\.js)"', client.get("/").text))

    assert requested == {path.name for path in pages.PAGE.glob("*.js")}


def test_only_files_of_the_page_are_served(client: FlaskClient) -> None:
    assert client.get("/").content_type == "text/html; charset=utf-8"
    assert client.get("/page/page.js").content_type == "text/javascript; charset=utf-8"
    assert client.get("/page/icon.svg").content_type == "image/svg+xml"
    assert client.get("/page/web.py").status_code == 404


def test_missing_pickup_time_means_the_time_of_the_request(
    tmp_path: Path, golden_location: str
) -> None:
    loaded = loader.load(golden_location)
    client = client_of(Models(Served(loaded, Target())))

    rush = client.post("/predict", json={**RIDE, "pickup_datetime": "2021-03-01T08:15:00"})
    night = client.post("/predict", json={**RIDE, "pickup_datetime": "2021-03-01T03:15:00"})

    assert rush.get_json()["duration"] != night.get_json()["duration"]
    assert client.post("/predict", json=RIDE).status_code == 200


def test_golden_rides_get_the_same_predictions_as_in_the_stream(
    golden_models: dict[golden.Target, GoldenModel],
) -> None:
    served = [
        Served(loader.load(model.model_location), Target()) for model in golden_models.values()
    ]
    client = client_of(Models(*served))

    answers = client.post("/predict/batch", json=golden.RIDES).get_json()

    # Rides without a pick-up time differ: the stream uses the arrival, the web service the clock.
    timed = [n for n, ride in enumerate(golden.RIDES) if "pickup_datetime" in ride["ride"]]
    assert [answer["ride_id"] for answer in answers] == [ride["ride_id"] for ride in golden.RIDES]
    for target in golden_models:
        values = [answers[n][target] for n in timed]
        low = [answers[n]["intervals"][target][0] for n in timed]
        high = [answers[n]["intervals"][target][1] for n in timed]
        expected = [golden.expected(target)[n] for n in timed]
        ends = [golden.intervals(target)[2 * n : 2 * n + 2] for n in timed]
        for found, exact in (
            (values, expected),
            (low, [end for end, _ in ends]),
            (high, [end for _, end in ends]),
        ):
            assert found == [round(value, 2) for value in found]
            assert found == pytest.approx(exact, abs=0.005 + golden.TOLERANCE)


def chunked(client: FlaskClient, body: bytes) -> int:
    """Send a body without Content-Length, as gunicorn passes a chunked one on; return the status.

    Flask's client would add the Content-Length again.
    """
    builder = EnvironBuilder(
        path="/predict", method="POST", input_stream=BytesIO(body), content_type="application/json"
    )
    environ = builder.get_environ() | {"wsgi.input_terminated": True}
    environ.pop("CONTENT_LENGTH", None)
    _, status, _ = run_wsgi_app(client.application, environ, buffered=True)
    return int(status[:3])


def test_chunked_body_is_read_up_to_the_limit(client: FlaskClient) -> None:
    body = json.dumps(RIDE).encode()

    sizes = (len(body), quotes.MAX_BODY, quotes.MAX_BODY + 1)
    assert [chunked(client, body.ljust(size)) for size in sizes] == [200, 200, 413]


def test_null_and_whole_numbers_with_a_point_are_read(client: FlaskClient) -> None:
    ride = {"PULocationID": 130.0, "DOLocationID": 205.0, "trip_distance": 3.66}
    body = {"ride": {**ride, "pickup_datetime": None}, "ride_id": 256.0}

    answer = client.post("/predict", data=json.dumps(body), content_type="application/json")

    assert answer.status_code == 200
    assert '"ride_id":256}' in answer.text
    assert "ride_id" not in client.post("/predict", json={**ride, "ride_id": None}).get_json()


def test_values_are_rounded_to_hundredths() -> None:
    served = Served(Ranged(), Target())

    answer = client_of(Models(served, served)).post(
        "/predict", json={**RIDE, "trip_distance": 3.6666}
    )

    quote = answer.get_json()
    assert quote["duration"] == quote["cost"] == 3.67
    assert quote["intervals"] == {"duration": [1.83, 7.33], "cost": [1.83, 7.33]}


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({**RIDE, "lpep_pickup_datetime": "2021-03-01 08:15:00"}, ["lpep_pickup_datetime"]),
        ({**RIDE, "PickupDatetime": "2021-03-01 08:15:00"}, ["PickupDatetime"]),
        ({**RIDE, "pickup_date_time": 1, "rideId": 7}, ["pickup_date_time", "rideId"]),
        ({"ride": {**RIDE, "pickup_time": 1}, "RideID": 7}, ["pickup_time", "RideID"]),
        ({"ride": RIDE, "pickup_datetime": 1}, ["pickup_datetime"]),
        ({"ride": {**RIDE, "ride_id": 7}}, ["ride_id"]),
        ({**RIDE, "pickup_datetime": None, "tpep_pickup_datetime": 1}, ["tpep_pickup_datetime"]),
        ({**RIDE, "pickup_datetime": "2021-03-01T08:15", "lpep_pickup_datetime": 1}, []),
        ({**RIDE, "dropoff_datetime": 1, "driver": "Jane", "fare": 3, "rider": 4}, []),
        ({**RIDE, "pickup_datetime\n<b>": 1}, []),
    ],
)
def test_ignored_field_with_a_similar_name_is_named_in_a_warning(
    client: FlaskClient, body: dict[str, Any], named: list[str]
) -> None:
    answer = client.post("/predict", json=body)

    warnings = answer.get_json().get("warnings", [])
    assert answer.status_code == 200
    assert [warning.split("`")[1] for warning in warnings] == named
    assert client.post("/predict/batch", json=[body]).get_json() == [answer.get_json()]


@pytest.mark.parametrize(
    ("name", "most"),
    [(b"pickup_datetime%d", field_names.MAX_COMPARED), (b"field%d", 0), (b"driver%d", 0)],
)
def test_many_unknown_fields_cost_few_comparisons_and_few_warnings(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch, name: bytes, most: int
) -> None:
    compared: list[str] = []
    meant = field_names._meant

    def counted(name: str) -> str | None:
        compared.append(name)
        return meant(name)

    monkeypatch.setattr(field_names, "_meant", counted)
    fields = b"".join(b',"%s":1' % (name % n) for n in range(40_000))
    body = json.dumps(RIDE).encode().removesuffix(b"}") + fields + b"}"

    for sent in (body, b'{"ride":%s}' % body):
        compared.clear()
        answer = client.post("/predict", data=sent, content_type="application/json")

        assert answer.status_code == 200
        assert len(compared) <= field_names.MAX_COMPARED
        assert len(answer.get_json().get("warnings", [])) == most


def test_a_long_name_is_compared_with_no_field(
    client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[str] = []
    monkeypatch.setattr(field_names, "_meant", compared.append)
    long = "ride_id" * 100_000

    answer = client.post("/predict", json={**RIDE, long: 1})

    assert (answer.status_code, compared) == (200, [])
    assert "warnings" not in answer.get_json()


def bodies_with(name: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield a path and a body for each place where a body of the API can have a name."""
    ride = b'"PULocationID":130,"DOLocationID":205,"trip_distance":3.66'
    bad = b'"%s":1' % name
    minute = b'"pickup_datetime":"2021-03-01T08:15"'  # is read a second time, with its seconds
    objects = [
        b"{%s,%s}" % (ride, bad),
        b"{%s,%s}" % (bad, ride),
        b"{%s,%s,%s}" % (ride, minute, bad),
        b'{%s,"x":{%s}}' % (ride, bad),
    ]
    events = [b'{"ride":%s,"ride_id":7}' % one for one in objects]
    events += [b'{"ride":{%s},%s}' % (ride, bad), b'{%s,"ride":{%s}}' % (bad, ride)]
    for one in objects + events:
        yield "/predict", one
        yield "/predict/batch", b"[%s]" % one
    columns = b'"PULocationID","DOLocationID","trip_distance"'
    values = b'"PULocationID":[130],"DOLocationID":[205],"trip_distance":[3.66]'
    for kind in (b"inputs", b"instances"):
        yield "/invocations", b'{"%s":{%s,"%s":[1]}}' % (kind, values, name)
    for kind in (b"dataframe_records", b"inputs", b"instances"):
        for one in objects:
            yield "/invocations", b'{"%s":[%s]}' % (kind, one)
    split = b'"columns":[%s,"%s"],"data":[[130,205,3.66,1]]' % (columns, name)
    yield "/invocations", b'{"dataframe_split":{%s}}' % split
    yield "/invocations", b'{"dataframe_split":{%s,%s}}' % (split, bad)
    yield "/invocations", b'{"dataframe_records":[{%s}],%s}' % (ride, bad)


@pytest.mark.parametrize("name", [b"\xff", rb"\ud800", rb"\q", b"\x01", rb"\u0000"])
def test_a_faulty_name_of_a_field_never_fails_the_service(client: FlaskClient, name: bytes) -> None:
    for path, body in bodies_with(name):
        answer = client.post(path, data=body, content_type="application/json")

        assert answer.status_code in (200, 400, 422), (path, body)


def test_links_have_the_prefix_that_a_proxy_names(client: FlaskClient) -> None:
    headers = {"X-Forwarded-Prefix": "/taxi"}

    document = client.get("/openapi.json", headers=headers).get_json()
    problem = client.post("/predict", json={}, headers=headers).get_json()
    [invalid] = client.post("/predict/batch", json=[{}], headers=headers).get_json()

    assert document["servers"] == [{"url": "/taxi"}]
    assert client.get("/openapi.json").get_json()["servers"] == [{"url": "/"}]
    assert problem["type"] == invalid["type"] == "/taxi/docs#invalid-ride"
    links = re.findall(r'(?:href|src)="([^"]*)"', client.get("/docs").text + client.get("/").text)
    assert links
    assert not [link for link in links if link.startswith("/")]


@pytest.mark.parametrize(
    ("prefix", "root"),
    [
        ("/taxi/v1.0_a-b", "/taxi/v1.0_a-b"),
        ("/taxi/", "/taxi"),
        ("/other, /taxi", "/taxi"),
        ("//rides.example", ""),
        ("/taxi//rides.example", ""),
        ("https://rides.example", ""),
        ("/taxi?next=", ""),
        ("/<b>", ""),
        ("/táxi", ""),
        ("taxi", ""),
    ],
)
def test_prefix_that_is_not_a_plain_path_is_ignored(
    client: FlaskClient, prefix: str, root: str
) -> None:
    headers = {"X-Forwarded-Prefix": prefix}

    problem = client.post("/predict", json={}, headers=headers).get_json()
    document = client.get("/openapi.json", headers=headers).get_json()

    assert problem["type"] == f"{root}/docs#invalid-ride"
    assert document["servers"] == [{"url": root or "/"}]


@pytest.mark.parametrize(
    ("environ", "named"),
    [
        ({}, "MODEL_LOCATION"),
        ({"MODEL_LOCATION": "m", "BIND": "everywhere"}, "BIND"),
        ({"MODEL_LOCATION": "m", "WEB_CONCURRENCY": "-1"}, "WEB_CONCURRENCY"),
    ],
)
def test_invalid_setting_is_named_in_the_error(environ: dict[str, str], named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        WebSettings.from_env(environ)


@pytest.mark.parametrize(("target", "other"), [("cost", "duration"), ("duration", "cost")])
def test_model_of_one_target_cannot_be_served_as_the_other(
    line: Path, tmp_path: Path, target: str, other: str
) -> None:
    wrong = str(models.write_onnx(tmp_path, metadata={"target": target}))
    at = {"duration": str(line), "cost": str(line)} | {other: wrong}
    settings = WebSettings(model_location=at["duration"], cost_model_location=at["cost"])

    with pytest.raises(ModelError, match=f"predicts a ride's {target}"):
        load(settings)
