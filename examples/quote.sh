#!/bin/sh
# Quotes one ride with curl: sh examples/quote.sh [http://127.0.0.1:9696]
set -eu

# --fail-with-body prints the problem of an error response and exits with an error.
curl --silent --show-error --fail-with-body --max-time 10 \
  --header 'Content-Type: application/json' \
  --data '{"ride": {"PULocationID": 130, "DOLocationID": 205, "trip_distance": 3.66}, "ride_id": 256}' \
  "${1:-http://127.0.0.1:9696}/predict"
echo
