"""The configuration of gunicorn, which reads this file from the working directory."""

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
    """The number of CPUs that this process may use, within the limit of its container."""
    found = os.process_cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in microseconds, or "max period"
    quota, _, period = limit.read_text().partition(" ") if limit.is_file() else ("max", "", "")
    return found if quota == "max" else max(1, min(found, -(-int(quota) // int(period))))


bind = settings.bind
workers = settings.web_concurrency or cpus()
worker_class = "model_service.web.worker.Worker"
threads = 4  # scoring occupies a CPU, so more threads would only wait for each other
worker_connections = 2000
backlog = 2048
keepalive = 75  # seconds; longer than the usual load balancer's 60
timeout = 60  # seconds until a hanging worker is killed
graceful_timeout = 25  # seconds; less than the 30 that ECS and Kubernetes allow
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = "*"  # no effect, because the service uses no header of a proxy
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
preload_app = True  # all workers share the memory of the models
control_socket_disable = True  # the socket would be a file in the home directory
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
loglevel = settings.log_level.lower()

# Each connection is an open file, and the usual soft limit is 1,024.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
files = worker_connections + 256  # 256 for metrics, pipes, and the models while they load
files = files if hard == resource.RLIM_INFINITY else min(files, hard)
if soft != resource.RLIM_INFINITY and soft < files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))

# OpenMP's threads do not survive a fork, so a scikit-learn model would hang.
os.environ["OMP_NUM_THREADS"] = "1"
# On SIGHUP, gunicorn reads this file again, but the loaded application keeps its first directory.
kept = os.environ.get("PROMETHEUS_MULTIPROC_DIR") if "prometheus_client" in sys.modules else ""
counts = kept or mkdtemp(prefix="prometheus-")
os.environ["PROMETHEUS_MULTIPROC_DIR"] = counts
made_by = os.getpid()
atexit.register(lambda: os.getpid() == made_by and shutil.rmtree(counts, ignore_errors=True))


def on_starting(server: Any) -> None:
    global made_by
    made_by = os.getpid()  # with --daemon, another process has read this file


def when_ready(server: Any) -> None:
    for listener in server.LISTENERS:
        address = listener.sock.getsockname()
        if isinstance(address, tuple):
            host = "localhost" if address[0] in ("0.0.0.0", "::") else address[0]
            host = f"[{host}]" if ":" in host else host
            server.log.info("The page: http://%s:%s/ (its API: /docs)", host, address[1])


def post_fork(server: Any, worker: Any) -> None:
    # A new worker still has the server's signal handlers, which would lose a SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "alive", False))


def worker_exit(server: Any, worker: Any) -> None:
    # onnxruntime would wait at exit for a thread that does not exist after a fork.
    if os.getpid() != made_by:
        left = sys.exception()
        os._exit(left.code if isinstance(left, SystemExit) and isinstance(left.code, int) else 1)


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
