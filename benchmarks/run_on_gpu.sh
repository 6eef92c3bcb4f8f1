#!/usr/bin/env bash
# On a machine with a GPU: builds, tests, sanitizes and measures in one go (aim: under 10 minutes), and leaves the logs and
# figures in $OUT (default: benchmarks/results/<date>-<commit>). See docs/gpu-verification.md for what it settles.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
OUT="${OUT:-benchmarks/results/$(date +%Y-%m-%d)-$commit}"
mkdir -p "$OUT"
failed=0
step() {
  local name=$1
  shift
  printf '== %s\n' "$name"
  local start=$SECONDS
  if timeout "${LIMIT:-300}" "$@" >"$OUT/$name.log" 2>&1; then
    printf '   ok, %d s\n' $((SECONDS - start))
  else
    printf '   FAILED (exit %d), %d s: %s\n' $? $((SECONDS - start)) "$OUT/$name.log"
    tail -n 5 "$OUT/$name.log"
    failed=1
  fi
}

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv | tee "$OUT/device.csv" || exit 1
architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
export AUTOAL_CUDA=ON AUTOAL_CUDA_ARCHS="$architecture" AUTOAL_BUILD_DIR=build/gpu PYTHONPATH="$PWD"
step build "$PYTHON" setup.py -q build_ext --inplace
step doctor "$PYTHON" -m autoal doctor
cat "$OUT/doctor.log"
step tests "$PYTHON" -m pytest -q tests/ops tests/strategies tests/models
for tool in memcheck racecheck initcheck synccheck; do
  LIMIT=90 step "$tool" compute-sanitizer --tool "$tool" --error-exitcode 1 \
    "$PYTHON" -m pytest -q -x tests/ops -k "cuda and lattice"
done
for bench in benchmarks/bench_*.py; do
  name=$(basename "$bench" .py)
  LIMIT=120 step "$name" "$PYTHON" "$bench" --device cuda --quick --out "$OUT/$name.json"
done
exit "$failed"
