#!/bin/sh
# Shows a worker bring an empty PostgreSQL up to date, and a second release go out while it runs.
# Everything is private and temporary; the server needs no port.
set -eu
cd "$(dirname "$0")/.."

tidegate=${TIDEGATE:-tidegate}
work=$(mktemp -d)
worker=

stop() {
    trap - EXIT INT TERM
    if [ -n "$worker" ]; then
        kill "$worker" 2>/dev/null || :
        wait "$worker" || :
    fi
    rm -rf "$work"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '\n# %s\n' "$1"; }
show() {
    printf '$ tidegate %s\n' "$*"
    "$tidegate" "$@"
}

# Settings of the person who runs this would lead away from the private server.
for name in $(env | sed -nE 's/^(DATABASE_URL|(DB|PG|TIDEGATE)[A-Z_]*)=.*/\1/p'); do unset "$name"; done

say "A worker starts with a private PostgreSQL and the example bundle: a bookshop in twelve migrations."
echo '$ tidegate run --embedded &'
"$tidegate" run --embedded >"$work/log" 2>&1 &
worker=$!

# The worker prints the server's address once the server is there; 60 seconds at most.
tries=600
until DB_URL=$(sed -n 's/^DSN  *//p' "$work/log" | head -n 1) && [ -n "$DB_URL" ]; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ] || ! kill -0 "$worker" 2>/dev/null; then
        cat "$work/log"
        exit 1
    fi
    sleep 0.1
done
export DB_URL

say "An API that needs version 12 waits for it at the gate."
show wait --at-least 12
show status

say "The next release adds one migration. It is published while the worker runs."
mkdir "$work/bundle"
cp migrations/example/*.sql migrations/example/next/*.sql "$work/bundle/"
show publish "$work/bundle" --label 1.1.0 --wait
show wait --at-least 13
show status

say "What was done, and when."
show history

say "The worker stops, and its PostgreSQL with it."
