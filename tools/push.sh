# Pushes the images that SAM built to the ECR repository REPOSITORY, and writes their digests into
# the built template. The image of the stream's functions gets the tag RELEASE, and the image of
# batches the tag RELEASE-batch.
#
# SAM pushes images itself, but does not put their addresses into the loops of the template
# (Fn::ForEach). So this script writes the digests there. All functions of a target have one image.
set -euo pipefail
tools="${0%/*}"
built=(archivefunction:lambda batchfunction:batch)

[ -n "${REPOSITORY:-}" ] && [ -n "${RELEASE:-}" ] || {
  echo "REPOSITORY and RELEASE are not set: run make push REPOSITORY=... RELEASE=..." >&2
  exit 2
}
"$BASH" "$tools/need_docker.sh"
command -v aws >/dev/null || {
  echo "This needs the AWS command line (version 2), which is not installed:" \
    "see https://docs.aws.amazon.com/cli." >&2
  exit 2
}
for image in "${built[@]}"; do
  stand_in="$("$BASH" "$tools/base_is_stand_in.sh" "$image")" || {
    echo "There is no image $image to push: run make build first." >&2
    exit 2
  }
  [ -z "$stand_in" ] || {
    echo "$image was built on a stand-in for AWS's base image and must not be deployed." >&2
    exit 1
  }
done

aws ecr get-login-password | docker login --username AWS --password-stdin "${REPOSITORY%%/*}"
for image in "${built[@]}"; do
  target="${image#*:}"
  tag="$RELEASE-$target"
  tag="${tag%-lambda}"
  docker tag "$image" "$REPOSITORY:$tag"
  docker push "$REPOSITORY:$tag"
  digest="$(aws ecr describe-images --repository-name "${REPOSITORY#*/}" \
    --image-ids "imageTag=$tag" --query 'imageDetails[0].imageDigest' --output text)"
  sed -i.local -E "s|^( +ImageUri: )[a-z0-9]+:$target$|\1$REPOSITORY@$digest|" \
    .aws-sam/build/template.yaml
done
