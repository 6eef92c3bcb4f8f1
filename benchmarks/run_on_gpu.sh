#!/usr/bin/env bash
# On a machine with a GPU: builds, tests, measures and sanitizes in one go, within BUDGET seconds, and leaves two files in
# $OUT: results.json (device, driver, commit, what the device copies and multiplies at best, figures of every kernel, which
# bars are met, how each step ended) and log.txt. No network. What it settles: docs/gpu-verification.md.
#
# The most telling steps come first; one for which no time is left is recorded as left out, which counts as a failure.
# ONLY="build figures" makes these alone, for machines that are lent in turns.
# Without a GPU, to see that it runs: AUTOAL_CUDA=OFF BENCH_ARGS="--device cpu --quick", and an nvidia-smi that answers.
set -uo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
BUDGET="${BUDGET:-570}"
export COMMIT="${COMMIT:-$(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)}"
OUT="${OUT:-benchmarks/results/$(date +%Y-%m-%d)-gpu}"
log="$OUT/log.txt" steps="" failed=0
mkdir -p "$OUT" && : >"$log" && rm -f "$OUT/results.json" || exit 1

# step NAME LIMIT COMMAND...: at most LIMIT seconds of what is left of the budget
step() {
  local name=$1 limit=$2 left=$((BUDGET - SECONDS)) start=$SECONDS code=0 fate=ok
  shift 2
  [[ " ${ONLY:-$name} " == *" $name "* ]] || return 0
  printf '\n== %s: %s\n' "$name" "$*" >>"$log"
  if ((left < 10)); then
    fate="left out: no time was left"
  else
    timeout --kill-after=10 "$((limit < left ? limit : left))" "$@" >>"$log" 2>&1 || code=$?
    ((code == 0)) || fate="exit $code"
    ((code != 124 && code != 137)) || fate="took more than $((limit < left ? limit : left)) s"
  fi
  steps+="$name"$'\t'"$fate"$'\t'"$((SECONDS - start))"$'\n'
  printf '%-20s %4d s  %s\n' "$name" $((SECONDS - start)) "$fate"
  [ "$fate" = ok ] || { failed=1 && tail -n 5 "$log" | sed 's/^/    /'; }
  [ "$fate" = ok ]
}

# Whatever ends the script, the results tell how far it came.
finish() {
  STEPS=$steps "$PYTHON" - "$OUT/results.json" <<'END'
import json, os, pathlib, sys

path = pathlib.Path(sys.argv[1])
report = json.loads(path.read_text()) if path.exists() else {"commit": os.environ["COMMIT"]}
rows = [line.split("\t") for line in os.environ["STEPS"].splitlines()]
report["steps"] = [{"step": step, "fate": fate, "seconds": int(seconds)} for step, fate, seconds in rows]
path.write_text(json.dumps(report, indent=1) + "\n")
END
  echo "$OUT/results.json, $log"
}
trap finish EXIT

nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader | tee -a "$log" || exit 1
architecture=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader | head -n 1 | tr -d .)
missing() { "$PYTHON" -c 'import importlib.util as u, sys; print(*(m for m in sys.argv[1:] if not u.find_spec(m)))' "$@"; }
needed=$(missing torch numpy sklearn scipy matplotlib tqdm pybind11 setuptools)
[ -z "$needed" ] || { echo "$PYTHON lacks: $needed" | tee -a "$log" && exit 1; }
# What pip has installed beside this Python, and a toolkit in its usual place, need not be on the PATH.
PATH="$("$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("scripts"))'):$PATH:/usr/local/cuda/bin"
command -v cmake >/dev/null || { echo "cmake is not on the PATH" | tee -a "$log" && exit 1; }

# Only what this device runs, and not the emulator: a third of the time.
export AUTOAL_CUDA="${AUTOAL_CUDA:-ON}" AUTOAL_CUDA_ARCHS="$architecture" AUTOAL_EMULATION=OFF AUTOAL_BUILD_DIR=build/gpu
export PYTHONPATH="$PWD"
step build 130 "$PYTHON" setup.py -q build_ext --inplace || exit 1
step doctor 20 "$PYTHON" -m autoal doctor
untestable=$(missing pytest hypothesis)
[ -z "$untestable" ] || echo "no tests: $PYTHON lacks $untestable" | tee -a "$log"
tests="$PYTHON -m pytest --tb=short -p no:cacheprovider"
# shellcheck disable=SC2086
[ -n "$untestable" ] || step tests 100 $tests tests/ops -m gpu
# shellcheck disable=SC2086
step figures 200 "$PYTHON" benchmarks/gpu_bars.py ${BENCH_ARGS:---device cuda} --out "$OUT/results.json"
# Last, for they are slow: how slow, nobody knows.
if [ -z "$untestable" ]; then
  scores=tests/ops/test_uncertainty_scores.py
  sanitized=(tests/ops/test_one_launch.py "$scores"::test_{definitions_in_float64,mc_definitions_in_float64}
    "$scores"::test_scores_do_not_depend_on_where_rows_lie)
  for tool in memcheck racecheck synccheck initcheck; do
    # Only our kernels are looked at: all of torch's would take longer than the budget. Each tensor is an allocation of
    # its own, so that what is read beside it is seen.
    # shellcheck disable=SC2086
    step "$tool" 100 env PYTORCH_NO_CUDA_MEMORY_CACHING=1 compute-sanitizer --tool "$tool" --kernel-name kns=autoal \
      --error-exitcode 1 $tests -x "${sanitized[@]}" -m gpu
  done
fi
[ -z "$untestable" ] || failed=1
exit "$failed"
