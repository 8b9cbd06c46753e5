#!/usr/bin/env bash
# Everything that needs a GPU, in one go: bench/gpu_check.sh [--dry-run] OUT_DIR
#
# Builds in place without network or pip, then runs the GPU tests, compute-sanitizer on a small run, and the benchmarks.
# Every phase has a limit and the next one comes whatever became of it; all of them together take less than 9 minutes.
# OUT_DIR gets NAME.log and NAME.json of every phase, targets.json, crossover.json and summary.json.
#
#   PYTHON      the interpreter, default .venv/bin/python or else python3: it needs torch, triton, numpy, pytest,
#               pybind11, safetensors and rich
#   PHASES      which ones, default "build tests memcheck racecheck bench"
#   TOTAL       seconds for all of them, default 530
#   DEVICE, BACKENDS, SIZE, TEST_ARGS   for a trial without a GPU: cpu, "cpu", tiny, and what pytest is to run
set -u

dry_run=0
if [ "${1:-}" = "--dry-run" ]; then
  dry_run=1
  shift
fi
if [ $# -ne 1 ] || [[ $1 = -* ]] || [ -z "$1" ]; then
  echo "usage: bench/gpu_check.sh [--dry-run] OUT_DIR" >&2
  exit 2
fi
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$1
[[ $out = /* ]] || out=$PWD/$out
if [ $dry_run = 0 ]; then
  mkdir -p "$out" || exit 2
  if [ ! -w "$out" ]; then
    echo "bench/gpu_check.sh: OUT_DIR $out cannot be written to" >&2
    exit 2
  fi
fi
cd "$root" || exit 2

python=.venv/bin/python # of `make install`
[ -x $python ] || python=python3
python=${PYTHON:-$python}
phases=${PHASES:-build tests memcheck racecheck bench}
device=${DEVICE:-cuda}
backends=${BACKENDS:-cuda triton}
size=${SIZE:-full}
total=${TOTAL:-530} # seconds, of 9 minutes
begin=$SECONDS
export MAX_JOBS=${MAX_JOBS:-$(nproc)}
export VANFAST_CUDA=${VANFAST_CUDA:-1}
export VANFAST_CUDA_ARCHS=${VANFAST_CUDA_ARCHS:-90} # the GPU at hand; other ones are compiled by CI

linked=0
cleanup() {
  [ $linked = 1 ] && rm -f vanfast/kernels
  return 0
}
trap cleanup EXIT

# In place there is no vanfast.kernels: an installation maps kernels/ there, but only one made of this very folder with
# `pip install -e` maps these.
mapped='import importlib.metadata as m, json, sys
found = json.loads(m.distribution("vanfast").read_text("direct_url.json") or "{}")
sys.exit(found.get("url") != f"file://{sys.argv[1]}" or not found["dir_info"].get("editable"))'
link_kernels() {
  if [ ! -e vanfast/kernels ] && ! "$python" -c "$mapped" "$root" 2>/dev/null; then
    ln -s ../kernels vanfast/kernels && linked=1
  fi
}

# phase NAME LIMIT COMMAND: runs it with its seconds in LIMIT, logs it, reports it; never fails. An interrupt lets pytest
# write what it has found so far.
phase() {
  local name=$1 limit=$2 command=$3 left code start
  case " $phases " in *" $name "*) ;; *) return 0 ;; esac
  left=$((total - (SECONDS - begin)))
  [ "$limit" -gt "$left" ] && limit=$left
  if [ $dry_run = 1 ]; then
    printf '%-10s %4d s  %s\n' "$name" "$limit" "$command"
    return 0
  fi
  rm -f "$out/$name.json" "$out/$name.xml"
  start=$SECONDS
  if [ "$limit" -lt 5 ]; then
    echo "no time was left for this phase" >"$out/$name.log"
    code=125
  else
    LIMIT=$limit timeout --signal=INT --kill-after=10 "$limit" bash -c "$command" >"$out/$name.log" 2>&1 </dev/null
    code=$?
  fi
  "$python" bench/gpu/report.py phase "$out" "$name" "$code" $((SECONDS - start)) "$limit" "$command"
}

# sanitizer TOOL OPTIONS: what checks the small run with it, or says why not (exit code 125).
sanitizer() {
  local tool=$1
  echo "command -v compute-sanitizer >/dev/null || { echo 'compute-sanitizer is not installed'; exit 125; };" \
    "compute-sanitizer --tool $tool --error-exitcode 77 --print-limit 20 $python bench/gpu/small.py --count 70$2"
}

export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"
printf -v quoted %q "$out"
flags=""
for backend in $backends; do flags+=" --backend $backend"; done
workers=""
"$python" -c "import xdist" 2>/dev/null && workers="-n 8" # Triton compiles on the CPU, one kernel a core
tests=${TEST_ARGS:-tests -m gpu $workers}

[ $dry_run = 1 ] && echo "would run in $root, at most $total s in all, results to $out:"
phase build 140 "$python setup.py build_ext --inplace"
[ $dry_run = 1 ] || link_kernels
phase tests 140 "$python -m pytest $tests -p no:cacheprovider --junitxml=$quoted/tests.xml"
phase memcheck 45 "$(sanitizer memcheck "")"
phase racecheck 45 "$(sanitizer racecheck " --racecheck")"
phase bench 190 "$python bench/gpu/run.py --out $quoted/targets.json --device $device --size $size$flags --seconds \$((LIMIT - 35)) \
--crossover $quoted/crossover.json"
[ $dry_run = 1 ] && exit 0
"$python" bench/gpu/report.py summary "$out"
