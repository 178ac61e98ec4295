// Vectors with one element for each value or node of a graph, indexed by what names it. Plain data, for one thread.
#pragma once

#include <utility>
#include <vector>

#include "core/graph/op.h"

namespace lockstep {

/// One T for each `Id`, which is a Value or the index of a node.
template <class T, class Id>
class PerId {
 public:
  PerId() = default;
  explicit PerId(size_t count) : all_(count) {}
  PerId(size_t count, const T& each) : all_(count, each) {}
  PerId(std::vector<T> all) : all_(std::move(all)) {}  // NOLINT: in the order of the ids
  T& operator[](Id id) { return all_[index(id)]; }
  const T& operator[](Id id) const { return all_[index(id)]; }
  void push_back(T one) { all_.push_back(std::move(one)); }
  const T& back() const { return all_.back(); }
  size_t size() const { return all_.size(); }
  bool empty() const { return all_.empty(); }
  auto begin() { return all_.begin(); }
  auto end() { return all_.end(); }
  auto begin() const { return all_.begin(); }
  auto end() const { return all_.end(); }

 private:
  static size_t index(Value value) { return static_cast<size_t>(value.id); }
  static size_t index(int node) { return static_cast<size_t>(node); }

  std::vector<T> all_;
};

template <class T>
using PerValue = PerId<T, Value>;
template <class T>
using PerNode = PerId<T, int>;

}  // namespace lockstep
