// How much of the time that halos travel is hidden behind work: steps by a slow link, with rows
// in pieces and in one, beside steps by a fast one. Two ranks with a thread each; prints medians and their spread.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "launch/data/feed/feed.h"
#include "launch/data/readers/synthetic.h"
#include "launch/lockstep.h"
#include "launch/train/device.h"
#include "launch/train/trainer.h"
#include "layers/cpu/library.h"
#include "parallel/comm/forwarding.h"

using namespace lockstep;

namespace {

using Clock = std::chrono::steady_clock;

/// A link of a mesh (see Mesh) by which exchanges inside a lane, halos here, take so long for each byte; sums over the
/// batch pass as they are.
class SlowLink final : public ForwardingComm {
 public:
  struct Shared {
    double seconds_a_byte = 0;
    std::atomic<size_t> bytes{0};  // that came by it
  };
  SlowLink(Communicator& inner, Shared& shared) : ForwardingComm(inner), shared_(shared) {}
  SlowLink(std::unique_ptr<Communicator> inner, Shared& shared, bool halos)
      : ForwardingComm(std::move(inner)), shared_(shared), halos_(halos) {}

  std::unique_ptr<Communicator> split(int color, int key) override {
    // A mesh splits for exchanges and for sums, axis by axis.
    return std::make_unique<SlowLink>(inner_.split(color, key), shared_, splits_++ % 2 == 0);
  }
  void exchange(std::span<const Message> messages, Stream& stream) override {
    size_t bytes = 0;
    for (const Message& message : messages) bytes = std::max({bytes, message.send_bytes, message.receive_bytes});
    if (halos_)
      stream.enqueue([this, bytes] {
        shared_.bytes += bytes;
        std::this_thread::sleep_for(std::chrono::duration<double>(static_cast<double>(bytes) * shared_.seconds_a_byte));
      });
    inner_.exchange(messages, stream);
  }

 private:
  Shared& shared_;
  bool halos_ = false;
  int splits_ = 0;
};

/// 20 convolutions of 16 to 64 channels.
Network twenty(int64_t size) {
  Symbol x = Input({size, size, 3});
  for (int layer = 0; layer < 20; ++layer)
    x = Conv2D(16 << std::min(layer / 7, 2), {3, 3}, {.padding = Padding::same, .activation = Activation::relu})(x);
  return Network("twenty", Dense(10, {.activation = Activation::softmax})(GlobalAveragePooling2D()(x)));
}

struct Measured {
  double seconds = 0;  // a step, as rank 0 sees it
  size_t bytes = 0;    // by its link, of rank 0
};

/// One step after a first.
Measured measure(const Network& network, const StepOptions& step, int ranks, double seconds_a_byte) {
  Measured measured;
  Runtime runtime;
  runtime.run(ranks, [&](RankContext& rank) {
    SlowLink::Shared shared{seconds_a_byte};
    SlowLink link(rank.comm, shared);
    const Device device = make_device({.backend = BackendChoice::cpu, .step = step}, rank, false);
    Trainer trainer(network, {.step = step, .optimizer = SGD{}}, link, *device.backend, device.kernels);
    const Shape image = network.input_shape();
    BatchFeed feed(open_synthetic(fmt::format("{}x{}x{}/10/1", image[0], image[1], image[2])).train,
                   {.batch = 1, .steps = 1});
    const Batch& batch = feed.next();
    trainer.train(batch, 0.01F);
    const size_t before = shared.bytes;
    const auto start = Clock::now();
    trainer.train(batch, 0.01F);
    if (rank.comm.rank() == 0)
      measured = {std::chrono::duration<double>(Clock::now() - start).count(), shared.bytes - before};
  });
  return measured;
}

std::string text(std::vector<double> seconds) {
  std::ranges::sort(seconds);
  return fmt::format("{:.1f} ms ({:.1f} to {:.1f})", 1e3 * seconds[seconds.size() / 2], 1e3 * seconds.front(),
                     1e3 * seconds.back());
}

double median(std::vector<double> seconds) {
  std::ranges::sort(seconds);
  return seconds[seconds.size() / 2];
}

}  // namespace

int main(int argc, char** argv) {
  const int64_t size = argc > 1 ? std::atoll(argv[1]) : 256;
  const int rounds = argc > 2 ? std::atoi(argv[2]) : 5;
  if (argc > 3 || size < 32 || rounds < 1) {
    std::fprintf(stderr, "usage: benchmark_halo [IMAGE_SIZE (from 32)] [ROUNDS (from 1)]\n");
    return 2;
  }
  const Network network = twenty(size);
  StepOptions one{.batch = 1, .lanes = 1}, overlapped = one;
  overlapped.strategy = parse_strategy("space_h=2");
  overlapped.strategy.overlap_from = 0;
  StepOptions plain = overlapped;
  plain.strategy.overlap_from = SIZE_MAX;
  // All halos together then take a fifth of a step.
  const Measured alone = measure(network, overlapped, 2, 0);
  const double travel = alone.seconds / 5, slowness = travel / static_cast<double>(alone.bytes);
  std::vector<double> ones, quick, slow, quick_plain, slow_plain;
  for (int round = 0; round < rounds; ++round) {
    ones.push_back(measure(network, one, 1, 0).seconds);
    quick.push_back(measure(network, overlapped, 2, 0).seconds);
    slow.push_back(measure(network, overlapped, 2, slowness).seconds);
    quick_plain.push_back(measure(network, plain, 2, 0).seconds);
    slow_plain.push_back(measure(network, plain, 2, slowness).seconds);
  }
  std::printf("20 convolutions, one %lldx%lldx3 image, 2 ranks by space_h=2, %d rounds, medians; oneDNN %s\n",
              static_cast<long long>(size), static_cast<long long>(size), rounds, onednn_version().c_str());
  std::printf("one rank                        %s\n", text(ones).c_str());
  std::printf("two ranks                       %s, %.2f times one rank\n", text(quick).c_str(),
              median(ones) / median(quick));
  std::printf("two ranks, rows in one piece    %s, %.2f times one rank\n", text(quick_plain).c_str(),
              median(ones) / median(quick_plain));
  std::printf("by a link of %.1f MB/s the %.1f MiB of halos take %.1f ms a step\n", 1e-6 / slowness,
              static_cast<double>(alone.bytes) / 0x1p20, 1e3 * travel);
  for (const auto& [what, with, without] :
       {std::tuple{"overlapped", &slow, &quick}, {"rows in one piece", &slow_plain, &quick_plain}})
    std::printf("%-31s %s, %.0f %% of it hidden\n", what, text(*with).c_str(),
                100 * (1 - (median(*with) - median(*without)) / travel));
  return 0;
}
