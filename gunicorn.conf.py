"""Configures gunicorn for `predict:app`; gunicorn reads this file from the working directory."""

from __future__ import annotations

from gevent import monkey

# gevent has to replace ssl before botocore and urllib3 import it, which they do in the master.
# gunicorn's gevent worker comes too late: HTTPS calls of a worker would recurse until they fail.
monkey.patch_all()

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
    """Return the number of CPUs that this process may use, within the limit of its container."""
    available = os.process_cpu_count() or 1
    limit = Path("/sys/fs/cgroup/cpu.max")  # "quota period" in microseconds, or "max period"
    quota, _, period = limit.read_text().partition(" ") if limit.is_file() else ("max", "", "")
    return available if quota == "max" else max(1, min(available, -(-int(quota) // int(period))))


bind = settings.bind
workers = settings.web_concurrency or cpus()
worker_class = "gevent"
worker_connections = 2000
backlog = 2048
keepalive = 75  # seconds; longer than the 60 that load balancers commonly use
timeout = 60  # seconds until a worker that hangs is killed
graceful_timeout = 8  # seconds to answer requests after SIGTERM; docker stop waits ten
limit_request_line = 4094
limit_request_fields = 64
limit_request_field_size = 8190
forwarded_allow_ips = "*"  # saves checking addresses: gunicorn itself uses no proxy headers
secure_scheme_headers: dict[str, str] = {}
forwarder_headers = ""
preload_app = True  # workers share one copy of the models
control_socket_disable = True  # gunicorn would create the socket in the home directory
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None
loglevel = settings.log_level.lower()

# Each connection needs a file descriptor, and the usual soft limit is 1,024.
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
files = worker_connections + 256  # 256 for metrics, pipes, and model files while they load
files = files if hard == resource.RLIM_INFINITY else min(files, hard)
if soft != resource.RLIM_INFINITY and soft < files:
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))

# OpenMP threads do not survive a fork: a scikit-learn model would hang in the workers.
os.environ["OMP_NUM_THREADS"] = "1"

# Workers share their metrics through files in this directory.  prometheus_client reads the path
# when it is imported, so the path must stay the same when SIGHUP makes gunicorn run this file
# again.  Only the master process removes the directory, because workers exit with os._exit, which
# skips the atexit functions.
if "prometheus_client" not in sys.modules:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = mkdtemp(prefix="prometheus-")
    atexit.register(shutil.rmtree, os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def when_ready(server: Any) -> None:
    for listener in server.LISTENERS:
        address = listener.sock.getsockname()
        if isinstance(address, tuple):
            host = "localhost" if address[0] in ("0.0.0.0", "::") else address[0]
            host = f"[{host}]" if ":" in host else host
            server.log.info("The page: http://%s:%s/ (its API: /docs)", host, address[1])


def post_fork(server: Any, worker: Any) -> None:
    # A new worker has the master's signal handlers until it installs its own.  With the master's
    # handler, the worker would ignore a SIGTERM.
    signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "alive", False))


def worker_exit(server: Any, worker: Any) -> None:
    # onnxruntime started a thread before the fork.  A normal exit would wait for that thread
    # forever.
    if worker.pid == os.getpid():  # gunicorn also calls this in the master
        error = sys.exception()
        code = error.code if isinstance(error, SystemExit) else None
        os._exit(code if isinstance(code, int) else 1)


def child_exit(server: Any, worker: Any) -> None:
    from prometheus_client import multiprocess

    multiprocess.mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
