#!/bin/bash
# Builds the broker's image and runs integration tests against it through testcontainers. Needs a Docker daemon.
# Arguments go to pytest and select the tests.
# BASE_IMAGE names the base image. Without it the script makes one from this machine's files, and pulls none.
set -euo pipefail
image=envicutor/kafka # as tests/support/containers.py names it
folder=$(mktemp -d -t envicutor-image.XXXXXX)
base=${BASE_IMAGE:-envicutor/base}

clean_up() {
  rm -rf "$folder"
  docker image rm --force $image envicutor/base >/dev/null 2>&1 || true
}
trap clean_up EXIT

say() { echo "test-containers: $*"; }

if [ -z "${BASE_IMAGE:-}" ]; then
  say "making a base image from this machine's Java and busybox"
  infra/kafka/base-image.sh "$base"
fi
say "building $image on $base"
.venv/bin/python -m infra.kafka.image "$folder/context"
# The classic builder needs no image other than the base.
DOCKER_BUILDKIT=0 docker build --quiet --build-arg BASE_IMAGE="$base" --tag $image "$folder/context" >"$folder/build.log" 2>&1 ||
  { cat "$folder/build.log"; exit 1; }
say "running integration tests against it"
# Ryuk, which cleans up after testcontainers, would have to be pulled. The tests' broker keeper replaces it.
TESTCONTAINERS_RYUK_DISABLED=true .venv/bin/pytest -q -n 2 --broker=container "$@"
