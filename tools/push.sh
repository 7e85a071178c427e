# Pushes the images that SAM built to the ECR repository REPOSITORY, and writes their digests into
# the built template. The image of the scorers gets the tag RELEASE, the image of the archive the tag
# RELEASE-onnx, and the image of batches the tag RELEASE-batch.
#
# SAM pushes images itself, but does not put their addresses into the loops of the template
# (Fn::ForEach). So this script writes the digests there. All functions of a target have one image.
set -euo pipefail
tools="${0%/*}"
built_template=.aws-sam/build/template.yaml

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
# SAM names an image after the first of its functions, which depends on the parameters.
built=()
template="$(cat "$built_template" 2>/dev/null || true)"
for target in lambda onnx batch; do
  [[ "$template" =~ ImageUri:\ ([a-z0-9]+:$target) ]] || {
    echo "There is no image for the target $target to push: run make build first." >&2
    exit 2
  }
  built+=("${BASH_REMATCH[1]}")
done
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
  read -r digest kind < <(aws ecr describe-images --repository-name "${REPOSITORY#*/}" \
    --image-ids "imageTag=$tag" --output text \
    --query 'imageDetails[0].[imageDigest, imageManifestMediaType]')
  case "$kind" in
    *.index.*|*.list.*)  # Lambda Developer Guide, "Create a Lambda function using a container image"
      echo "$image is an image index, as buildx makes for attestations, and Lambda refuses it:" \
        "build it again with --provenance=false and --sbom=false." >&2
      exit 1
      ;;
  esac
  sed -i.local -E "s|^( +ImageUri: )[a-z0-9]+:$target$|\1$REPOSITORY@$digest|" \
    "$built_template"
done
