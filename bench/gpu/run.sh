#!/bin/sh
# `sh bench/gpu/run.sh`, in the repository, where `python -m bench.gpu.prepare` has made .gpu/. What comes of it goes to
# $OUT, or else to build/gpu. Options are passed on: `--scripted` tries all of it without a GPU.
set -e
site=${SITE:-/tmp/site}
${PYTHON:-python3} -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$site" .gpu/wheels/*.whl
export PYTHONPATH="$site:$PWD/src:$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec ${PYTHON:-python3} -m bench.gpu.there "${OUT:-build/gpu}" "$@"
