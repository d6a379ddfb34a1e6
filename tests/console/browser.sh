#!/bin/sh
# Sees that there is a Chromium for the tests of the console: the machine's own, or Debian's where root may install it.
# Without one these tests are skipped and say so, so that this never fails.
set -u

for name in chromium chromium-browser google-chrome; do
    command -v "$name" > /dev/null && exit 0
done
if [ "$(id -u)" -ne 0 ] || ! command -v apt-get > /dev/null; then
    echo "no chromium here: the tests of the console are skipped (apt-get install chromium brings it)"
    exit 0
fi

log=$(mktemp)
patience="-o Acquire::Retries=0 -o Acquire::http::Timeout=20 -o DPkg::Lock::Timeout=60"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086
if timeout 240 sh -c "apt-get update $patience && apt-get install -y --no-install-recommends $patience chromium" \
    > "$log" 2>&1 < /dev/null; then
    echo "chromium was installed for the tests of the console"
else
    echo "chromium could not be installed, so the tests of the console are skipped; the end of what apt-get said:"
    tail -n 3 "$log"
fi
rm -f "$log"
