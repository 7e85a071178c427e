# Prints "true" if IMAGE was built on a stand-in for AWS's base image: stand_in.sh IMAGE
#
# .ci/base-images makes the stand-ins and labels them. Fails if there is no such image.
docker image inspect --format '{{index .Config.Labels "ride-predictions.stand-in"}}' "$1"
