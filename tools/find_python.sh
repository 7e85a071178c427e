# Prints the path of a Python 3.13 that can create virtual environments, or says how to install one.
candidates=(
  python3.13
  "$(pyenv prefix 3.13 2>/dev/null)/bin/python3.13"
  "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.13*/bin/python3.13
  "$(uv python find 3.13 2>/dev/null)"
)
for python in "${candidates[@]}"; do
  # A pyenv shim is found even if it cannot run Python, so each candidate has to run a program.
  if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != (3, 13))' \
    >/dev/null 2>&1; then
    echo "$python"
    exit
  fi
done
echo "No Python 3.13 found. Install it (apt install python3.13-venv, pyenv install 3.13," \
  "or uv python install 3.13) and run make again." >&2
exit 1
