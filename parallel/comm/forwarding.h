// A communicator that passes all calls on to another: what stands before one overrides what it changes.
#pragma once

#include "parallel/comm/communicator.h"

namespace lockstep {

class ForwardingComm : public Communicator {
 public:
  explicit ForwardingComm(Communicator& inner) : inner_(inner) {}
  explicit ForwardingComm(std::unique_ptr<Communicator> inner) : owned_(std::move(inner)), inner_(*owned_) {}

  int rank() const override { return inner_.rank(); }
  int size() const override { return inner_.size(); }
  std::string_view kind() const override { return inner_.kind(); }
  bool capturable() const override { return inner_.capturable(); }
  std::unique_ptr<Communicator> split(int color, int key) override { return inner_.split(color, key); }
  void exchange(std::span<const Message> messages, Stream& stream) override { inner_.exchange(messages, stream); }
  void all_reduce(float* data, size_t n, Stream& stream) override { inner_.all_reduce(data, n, stream); }
  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    inner_.reduce_scatter(in, out, n, stream);
  }
  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    inner_.all_gather(mine, all, bytes, stream);
  }
  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    inner_.all_to_all(in, out, bytes, stream);
  }
  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    inner_.broadcast(data, bytes, root, stream);
  }
  void watch(Stream& stream) override { inner_.watch(stream); }
  void check() override { inner_.check(); }
  void abort(std::string_view why) noexcept override { inner_.abort(why); }

 private:
  std::unique_ptr<Communicator> owned_;  // none where it is another's

 protected:
  Communicator& inner_;
};

}  // namespace lockstep
