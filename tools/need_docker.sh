# Fails with one sentence if Docker is not installed or its engine does not run.
command -v docker >/dev/null || {
  echo "This needs Docker, which is not installed: see" \
    "https://docs.docker.com/engine/install, or apt install docker.io." >&2
  exit 2
}
docker info >/dev/null 2>&1 || {
  echo "This needs Docker, whose engine does not answer: start it" \
    "(Docker Desktop, or systemctl start docker), or join the group docker." >&2
  exit 2
}
