# Runs inside an image and lists its system, Amazon Linux or Debian, and the packages of the system:
# first a line with the system's id and version, and then a line with name, version and architecture
# for each package, separated by tabs. tools/system_bom.py reads this list.
. /etc/os-release
printf '%s\t%s\n' "$ID" "$VERSION_ID"
if command -v rpm >/dev/null; then
  rpm --query --all --queryformat '%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\n'
else
  dpkg-query --show --showformat '${Package}\t${Version}\t${Architecture}\n'
fi
