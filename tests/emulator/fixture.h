// The fixture of the emulator's own tests: a backend on the emulated device, in both orders of threads.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "core/cuda/cuda.h"
#include "core/cuda/launch.cuh"
#include "tests/emulator/emulator.h"
#include "tests/support/errors.h"
#include "tests/support/watchdog.h"

namespace lockstep::cuda {

using emulator::Order;

class EmulatorTest : public ::testing::TestWithParam<Order> {
 protected:
  EmulatorTest() { emulator::set_order(GetParam()); }
  ~EmulatorTest() override {
    emulator::forget_failure();
    emulator::set_order(Order::ascending);
  }

  /// On the device, until the test's end.
  template <class T>
  T* device(const std::vector<T>& values) {
    Arena arena(*backend_, values.size() * sizeof(T));
    backend_->copy(arena.data(), reinterpret_cast<const std::byte*>(values.data()), values.size() * sizeof(T));
    arenas_.push_back(std::move(arena));
    return reinterpret_cast<T*>(arenas_.back().data());
  }
  template <class T>
  std::vector<T> host(const T* values, size_t n) {
    std::vector<T> all(n);
    backend_->copy(reinterpret_cast<std::byte*>(all.data()), reinterpret_cast<const std::byte*>(values), n * sizeof(T));
    return all;
  }
  /// When the compute stream is done.
  template <class T>
  std::vector<T> finished(const T* values, size_t n) {
    stream_->synchronize();
    return host(values, n);
  }

  testing::Watchdog watchdog_{"emulator_test"};
  std::unique_ptr<Backend> backend_ = make_cuda_backend(0);
  std::vector<Arena> arenas_;
  std::unique_ptr<Stream> stream_ = backend_->compute_stream(), side_ = backend_->side_stream();
};

/// Instantiates a fixture for both orders.
#define EMULATOR_ORDERS(Fixture)                                                                 \
  INSTANTIATE_TEST_SUITE_P(Orders, Fixture, ::testing::Values(Order::ascending, Order::reverse), \
                           [](const auto& one) { return one.param == Order::reverse ? "reverse" : "ascending"; })

}  // namespace lockstep::cuda
