#!/usr/bin/env bash
# Builds the extension with AddressSanitizer and UndefinedBehaviorSanitizer, then with ThreadSanitizer, under build/, and
# runs the tests of the kernels on each: natively, through autoal.ops, and the CUDA source on the emulator. Any report
# fails. Arguments go to pytest: `tests/sanitize.sh -k kcenter`. SANITIZERS=asan or tsan runs one of them.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON="${PYTHON:-python3}"
root=$PWD
tests=("$root/tests/native" "$root/tests/ops" "$root/tests/cuda")
# Left out: laws that thousands of equal calls show (others of each op run; the calls take no other path), and answers
# within half a second, which instrumented code need not keep to. ThreadSanitizer cannot follow threads that the child of a
# fork starts ("dup thread with used id").
deselected="not law and not deaf and not half_a_second"
[ "${1:-}" != -k ] || { deselected+=" and ($2)" && shift 2; }  # pytest heeds its last -k alone

# build NAME FLAGS: the instrumented package in build/NAME/out
build() {
  printf '== build/%s (-fsanitize=%s)\n' "$1" "$2"
  # RelWithDebInfo: Release builds are stripped, and reports then name no lines
  cmake -S . -B "build/$1" -GNinja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAUTOAL_CUDA=OFF -DAUTOAL_SANITIZE="$2" \
    -DPython_EXECUTABLE="$("$PYTHON" -c 'import sys; print(sys.executable)')" \
    -DCMAKE_INSTALL_PREFIX="$root/build/$1/out" >"build/$1.log"
  cmake --build "build/$1" --parallel >>"build/$1.log" || { tail -n 20 "build/$1.log"; exit 1; }
  rm -rf "build/$1/out"
  mkdir -p "build/$1/out"
  cp -r autoal "build/$1/out/"
  rm -f "build/$1/out/autoal/"*.so  # of another build: CMake leaves a file that is not a second older than its own
  cmake --install "build/$1" >>"build/$1.log"
}

# check NAME LIBRARIES PYTEST_ARGUMENTS...: from the folder of the instrumented package, so that it is what is imported.
# -s: pytest's capture would swallow the report of a process that a sanitizer ends.
check() {
  local name=$1 libraries=$2
  shift 2
  printf '== tests on build/%s\n' "$name"
  (cd "build/$name/out" && PYTHONPATH=$PWD LD_PRELOAD=$libraries "$PYTHON" -m pytest -s --timeout=0 -k "$deselected" "${tests[@]}" "$@")
}

library() { gcc -print-file-name="lib$1.so"; }

mkdir -p build
export AUTOAL_NUM_THREADS=4  # threads must exist to race, on a machine of any size
for sanitizer in ${SANITIZERS:-asan tsan}; do
  if [ "$sanitizer" = asan ]; then
    build asan address,undefined
    # Leaks: Python and torch keep what they made until the process ends. libstdc++: ASan must find __cxa_throw at start.
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 \
      check asan "$(library asan) $(library ubsan) $(library stdc++)" "$@"
  else
    build tsan thread
    deselected+=" and not forked"
    TSAN_OPTIONS=exitcode=66:die_after_fork=0 check tsan "$(library tsan)" "$@"
  fi
done
