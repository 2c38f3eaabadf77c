#!/bin/sh
# A post-renderer for Neosync's chart: puts Tidegate in the place of the init container db-migration.
#
#   helm upgrade neosync … --post-renderer deploy/kustomize/neosync/post-render.sh
#
# An argument, or else TIDEGATE_SQL, says how the migrations leave the API's image: copy (the default; it needs cp) or
# image-volume (it needs nothing, and Kubernetes 1.35, or 1.31 with the feature gate ImageVolume).
# TIDEGATE_IMAGE is Tidegate's image; NEOSYNC_DEPLOYMENT the name of the API's Deployment, neosync-api if not set.
set -eu

fail() {
    echo "post-render.sh: $1" >&2
    exit 1
}

sql=${1:-${TIDEGATE_SQL:-copy}}
image=${TIDEGATE_IMAGE:-}
deployment=${NEOSYNC_DEPLOYMENT:-neosync-api}

case $sql in
    copy | image-volume) ;;
    *) fail "got '$sql'; it takes copy or image-volume" ;;
esac
case $image in
    '') fail "TIDEGATE_IMAGE is not set; it names Tidegate's image, with its tag" ;;
    *[!A-Za-z0-9._:/@-]*) fail "TIDEGATE_IMAGE is '$image', which is no name of an image" ;;
esac
case $deployment in
    *[!a-z0-9.-]*) fail "NEOSYNC_DEPLOYMENT is '$deployment', which is no name of a Deployment" ;;
esac

if command -v kubectl >/dev/null; then
    build='kubectl kustomize'
elif command -v kustomize >/dev/null; then
    build='kustomize build'
else
    fail "neither kubectl nor kustomize is on the PATH; install one of them"
fi

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

for file in kustomization.yaml patch.yaml; do
    sed -e "s|name: neosync-api\$|name: $deployment|" -e "s|image: tidegate:.*|image: $image|" \
        "$here/$sql/$file" >"$work/$file"
done
cat >"$work/all.yaml"

# A patch would add what it does not find, and a container without a database would wait for nobody.
grep -q 'name: db-migration *$' "$work/all.yaml" || fail "no init container named db-migration was rendered"

$build "$work"
