"""The web service's image: a read-only root, no rights, and the address of this machine's loopback.

`make image-test` makes the image first.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from local.aws import server as local_aws
from local.aws.lambda_container import HOST, docker, free_ports, wait_for

from ..support import models
from ..web.test_server import connect_and_send, send
from .test_image import readable

WEB = "ride-predictions:web"
LIKE_A_CLUSTER = (
    "--read-only",
    *("--tmpfs", "/tmp:size=64m"),
    *("--cap-drop", "ALL"),
    *("--security-opt", "no-new-privileges"),
)
START_SECONDS = 10
STOP_SECONDS = 30

pytestmark = [
    pytest.mark.image,
    pytest.mark.skipif(not shutil.which("docker"), reason="needs Docker, and make image"),
]


@contextmanager
def running(
    settings: Mapping[str, str], *, options: Sequence[str] = ()
) -> Iterator[tuple[str, int]]:
    """Run the image; yields the name of the container and its port when it listens."""
    port, _ = free_ports()
    environment = {"BIND": f"{HOST}:{port}", "WEB_CONCURRENCY": "2", **settings}
    name = docker(
        "run",
        "--detach",
        *("--network", "host"),
        *LIKE_A_CLUSTER,
        *options,
        *(part for item in environment.items() for part in ("--env", "=".join(item))),
        WEB,
    ).strip()
    try:
        wait_for(port)
        yield name, port
    finally:
        docker("rm", "--force", name)


def on_disk(model: Path) -> tuple[dict[str, str], tuple[str, str]]:
    """The settings and options with which a container serves *model*."""
    return {"MODEL_LOCATION": "/opt/model"}, ("--volume", f"{model}:/opt/model:ro")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return readable(models.write_onnx(tmp_path_factory.mktemp("line")))


def inspected(name: str, template: str) -> str:
    return docker("inspect", "--format", template, name).strip()


def test_the_service_runs_unprivileged_on_a_read_only_root_and_is_healthy(
    line: Path,
) -> None:
    settings, options = on_disk(line)

    with running(settings, options=(*options, "--health-interval=1s")) as (name, port):
        status, body = send(port)
        user = docker("exec", name, "id", "-u").strip()
        deadline = time.monotonic() + START_SECONDS
        while (health := inspected(name, "{{.State.Health.Status}}")) != "healthy":
            assert time.monotonic() < deadline, health
            time.sleep(0.2)

    assert status == 200
    assert json.loads(body)["duration"] == pytest.approx(20.3)
    assert user == "10001"


def test_the_service_listens_on_all_addresses_by_default(line: Path) -> None:
    settings, options = on_disk(line)
    environment = [part for item in settings.items() for part in ("--env", "=".join(item))]
    ask_inside = (
        "import urllib.request;"
        "print(urllib.request.urlopen('http://127.0.0.1:9696/livez').status,"
        " open('/proc/net/tcp').read().count('00000000:25E0'))"  # 0.0.0.0:9696
    )
    name = docker(
        "run", "--detach", "--network", "none", *LIKE_A_CLUSTER, *options, *environment, WEB
    ).strip()
    try:
        deadline = time.monotonic() + START_SECONDS
        while subprocess.run(
            ["docker", "exec", name, "python", "/usr/local/bin/healthy"],
            capture_output=True, check=False, timeout=60,
        ).returncode:  # fmt: skip
            assert time.monotonic() < deadline
        found = docker("exec", name, "python", "-c", ask_inside).split()
    finally:
        docker("rm", "--force", name)

    assert found == ["200", "1"]


def test_the_health_check_fails_if_nothing_listens() -> None:
    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", WEB, "python", "/usr/local/bin/healthy"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0


def test_the_service_loads_a_model_from_s3(line: Path) -> None:
    with local_aws.embedded() as aws:
        s3 = aws.s3()
        s3.create_bucket(Bucket="models-web")
        location = models.upload(s3, line, "models-web", "1/line")
        settings = {**aws.environ, "MODEL_LOCATION": location}

        with running({key: value for key, value in settings.items() if value}) as (_, port):
            status, body = send(port)

    assert status == 200
    assert json.loads(body)["duration"] == pytest.approx(20.3)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"MODEL_LOCATION": ""}, "cannot start: MODEL_LOCATION is not set"),
        ({"MODEL_LOCATION": "/opt/nowhere"}, "cannot start: cannot read /opt/nowhere"),
        ({"MODEL_LOCATION": "/opt/model", "WEB_CONCURRENCY": "many"}, "WEB_CONCURRENCY must be"),
    ],
)
def test_a_wrong_setting_prints_one_line_and_exits_soon(
    settings: dict[str, str], said: str
) -> None:
    environment = [part for item in settings.items() for part in ("--env", "=".join(item))]
    began = time.monotonic()

    done = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", *LIKE_A_CLUSTER, *environment, WEB],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip

    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < START_SECONDS


@contextmanager
def asking(port: Callable[[], int], clients: int = 8) -> Iterator[Counter[str]]:
    """Send requests from *clients*, each on a new connection; yields their results."""
    found: Counter[str] = Counter()
    ended = threading.Event()

    def ask_on() -> None:
        while not ended.is_set():
            found[connect_and_send(port())] += 1

    threads = [threading.Thread(target=ask_on) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield found
    finally:
        ended.set()
        for thread in threads:
            thread.join()


def test_sigterm_under_load_resets_only_connections_that_wait_to_be_accepted(line: Path) -> None:
    settings, options = on_disk(line)

    with running(settings, options=options) as (name, port), asking(lambda: port) as found:
        time.sleep(2)
        docker("stop", "-t", str(STOP_SECONDS), name)
        code = inspected(name, "{{.State.ExitCode}}")

    assert code == "0"
    assert found["answered"] > 100
    assert set(found) <= {"answered", "refused", "ConnectionResetError"}
    assert found["ConnectionResetError"] <= 8  # one for each client


def test_no_request_is_lost_when_a_new_container_takes_over(line: Path, tmp_path: Path) -> None:
    settings, options = on_disk(line)
    new = readable(models.write_onnx(tmp_path / "new", run_id="the-new-champion"))
    new_settings, new_options = on_disk(new)

    with running(settings, options=options) as (old, port):
        ports = [port]  # what a load balancer would know
        with (
            asking(lambda: ports[-1]) as found,
            running(new_settings, options=new_options) as (
                _,
                new_port,
            ),
        ):
            while send(new_port, "/readyz", None)[0] != 200:
                time.sleep(0.1)
            ports.append(new_port)
            docker("stop", "-t", str(STOP_SECONDS), old)
            after = send(new_port)
            time.sleep(1)
            answered = dict(found)

    assert set(answered) == {"answered"}
    assert json.loads(after[1])["versions"]["duration"] == "the-new-champion"


def test_the_image_is_labelled_and_has_no_compiler() -> None:
    labels: dict[str, Any] = json.loads(inspected(WEB, "{{json .Config.Labels}}"))
    found = subprocess.run(
        ["docker", "run", "--rm", "--network", "none", WEB, "sh", "-c", "command -v gcc make git"],
        capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    compiled = docker(
        "run", "--rm", "--network", "none", WEB,
        *("sh", "-c", "ls model_service/web/__pycache__/app.*.pyc flask/__pycache__/app.*.pyc"),
    )  # fmt: skip

    assert labels["org.opencontainers.image.title"] == WEB
    assert found.stdout == b""
    assert len(compiled.split()) == 2
