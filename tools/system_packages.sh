# Runs inside an image and lists the packages of its system: Amazon Linux or Debian.
if command -v rpm >/dev/null; then
  rpm --query --all --queryformat "%{NAME} %{VERSION}-%{RELEASE}\n"
else
  dpkg-query --show --showformat '${Package} ${Version}\n'
fi
