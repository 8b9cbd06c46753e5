// What the bindings of the Monte Carlo engine read from Python: the schedule of a run.
#pragma once

#include <pybind11/functional.h>
#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <optional>
#include <string>

#include "cpu/bind_layers.h"
#include "cpu/dispatch.h"
#include "cpu/mcmc_run.h"

namespace vanfast::cpu {

template <class T>
using Array = py::array_t<T, py::array::c_style>;

template <class T>
T entry(const py::dict& values, const char* key) {
  require(values.contains(key), std::string("schedule lacks ") + key);
  return values[key].cast<T>();
}

// A schedule from Python, the array that it draws into, and the Python function that is told of progress.
struct Run {
  Schedule schedule;
  Array<int8_t> spins;
  std::optional<Array<int8_t>> start;
  py::object progress;
  std::string isa;

  // states: q, or 0 for spins
  Run(const py::dict& values, int num_sites, int states = 0) : isa(entry<std::string>(values, "isa")) {
    kernels_for(isa);  // refuses what this CPU does not have
    require(num_sites >= 1, "num_sites must be at least 1");
    schedule.seed = entry<uint64_t>(values, "seed");
    schedule.first = entry<uint64_t>(values, "first");
    schedule.chains = entry<int64_t>(values, "chains");
    schedule.burn_in = entry<int64_t>(values, "burn_in");
    schedule.draws = entry<int64_t>(values, "draws");
    schedule.thin = entry<int64_t>(values, "thin");
    schedule.sweep = entry<int64_t>(values, "sweep");
    schedule.threads = entry<int>(values, "threads");
    require(schedule.chains >= 1 && schedule.burn_in >= 0 && schedule.draws >= 0 && schedule.thin >= 1 &&
                schedule.sweep >= 0,
            "chains, burn_in, draws, thin and sweep are out of range");
    start = entry<std::optional<Array<int8_t>>>(values, "start");
    if (start)
      require(start->ndim() == 2 && start->shape(0) == schedule.chains && start->shape(1) == num_sites,
              "start must be [chains, N]");
    require(
        !start || !states ||
            std::all_of(start->data(), start->data() + start->size(), [&](int8_t s) { return s >= 0 && s < states; }),
        "start must hold states 0 .. q - 1");
    schedule.start = start ? start->data() : nullptr;
    spins = Array<int8_t>({schedule.chains, schedule.draws, static_cast<int64_t>(num_sites)});
    schedule.spins = spins.mutable_data();
    progress = entry<py::object>(values, "progress");
    schedule.poll = [this](int64_t done) {
      py::gil_scoped_acquire acquire;
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      if (!progress.is_none()) progress(done);
    };
  }
};

}  // namespace vanfast::cpu
