# Prints "true" if IMAGE was built on a stand-in (a substitute that .ci/base-images makes and labels)
# for AWS's base image: base_is_stand_in.sh IMAGE
#
# Prints an empty line for other images, and fails if there is no such image.
docker image inspect --format '{{index .Config.Labels "ride-predictions.stand-in"}}' "$1"
