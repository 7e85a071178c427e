"""How gunicorn serves `predict:app`; it reads this file by itself, from the working directory."""

from __future__ import annotations

import atexit
import os
import resource
import shutil
import signal
import sys
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from model_service.errors import SettingsError
from model_service.settings import WebSettings

try:
    settings = WebSettings.from_env(os.environ)
except SettingsError as exc:
    sys.exit(f"cannot start: {exc}")


def cpus() -> int:
    """What this process may use: its CPUs, or what its container is limited to."""
    found = os.process_cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in microseconds, or "max period"
    quota, _, period = limit.read_text().partition(" ") if limit.is_file() else ("max", "", "")
    return found if quota == "max" else max(1, min(found, -(-int(quota) // int(period))))


bind = settings.bind
workers = settings.web_concurrency or cpus()
worker_class = "model_service.web.worker.Worker"
threads = 4  # scoring holds a CPU; more threads than this only take turns
worker_connections = 2000
backlog = 2048
keepalive = 75  # seconds; longer than the usual load balancer's 60
timeout = 60  # for a worker that hangs
graceful_timeout = 25  # shorter than the 30 seconds that ECS and Kubernetes leave
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = "*"  # nobody is looked up, because no header of a proxy means anything here
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
preload_app = True  # the models once in memory, for all workers
control_socket_disable = True  # it would be a file in the home directory
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
loglevel = settings.log_level.lower()

# Each connection is an open file, and a shell's usual limit is 1,024 until one asks for more.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
files = worker_connections + 256  # the others are counts, pipes, and the models while they load
files = files if hard == resource.RLIM_INFINITY else min(files, hard)
if soft != resource.RLIM_INFINITY and soft < files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))

# OpenMP's threads do not survive a fork: a model of scikit-learn would hang.
os.environ["OMP_NUM_THREADS"] = "1"
# On SIGHUP this file is read again, and the application that is loaded still reads the first ones.
kept = os.environ.get("PROMETHEUS_MULTIPROC_DIR") if "prometheus_client" in sys.modules else ""
counts = kept or mkdtemp(prefix="prometheus-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
made_by = os.getpid()
atexit.register(lambda: os.getpid() == made_by and shutil.rmtree(counts, ignore_errors=True))


def on_starting(server: Any) -> None:
    global made_by
    made_by = os.getpid()  # another than has read this, with --daemon


def when_ready(server: Any) -> None:
    for listener in server.LISTENERS:
        address = listener.sock.getsockname()
        if isinstance(address, tuple):
            host = "localhost" if address[0] in ("0.0.0.0", "::") else address[0]
            host = f"[{host}]" if ":" in host else host
            server.log.info("The page: http://%s:%s/ (its API: /docs)", host, address[1])


def post_fork(server: Any, worker: Any) -> None:
    # Until a worker has its own handlers it has the server's, which would lose a SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "alive", False))


def worker_exit(server: Any, worker: Any) -> None:
    # onnxruntime has a thread that is not there after a fork; clearing up would wait for it.
    if os.getpid() != made_by:
        left = sys.exception()
        os._exit(left.code if isinstance(left, SystemExit) and isinstance(left.code, int) else 1)


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
