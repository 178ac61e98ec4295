#include "parallel/comm/mpi.h"

// The C interface alone: the C++ bindings were removed from MPI, and older libraries still include them.
#define OMPI_SKIP_MPICXX 1
#define MPICH_SKIP_MPICXX 1
#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "parallel/comm/launcher.h"

namespace lockstep {
namespace {

/// Waits without taking a core from whoever computes: first gives way again and again, since what is under way ends
/// within microseconds; then sleeps between looks, since a late peer is late by milliseconds. Sleeping sooner or longer
/// costs bandwidth where MPI moves large messages in small pieces, as it does in containers without ptrace rights.
class Patience {
 public:
  void pause() {
    if (++tries_ < 1000) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(std::chrono::microseconds(20));
    }
  }

 private:
  int tries_ = 0;
};

std::string error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(code, text.data(), &length);
  return {text.data(), static_cast<size_t>(length)};
}

/// MPI from its start to its end, shared by all communicators, and the lock under which every call is made.
struct Session {
  Session() {
    int provided = 0;
    const int code = MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
    if (code != MPI_SUCCESS) throw Error("MPI_Init_thread failed: {}", error_text(code));
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (provided < MPI_THREAD_SERIALIZED) {
      MPI_Finalize();
      throw Error("this MPI library offers thread level {}, MPI_THREAD_SERIALIZED ({}) is needed", provided,
                  static_cast<int>(MPI_THREAD_SERIALIZED));
    }
  }
  ~Session() { MPI_Finalize(); }

  std::timed_mutex mutex;
};

class Mpi final : public Communicator {
 public:
  Mpi(std::shared_ptr<Session> session, MPI_Comm comm, size_t piece)
      : session_(std::move(session)), comm_(comm), piece_(piece) {
    MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
    MPI_Comm_rank(comm_, &rank_);
    MPI_Comm_size(comm_, &size_);
  }
  ~Mpi() override {
    std::lock_guard lock(session_->mutex);
    if (comm_ != MPI_COMM_WORLD) MPI_Comm_free(&comm_);
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }
  std::string_view kind() const override { return "mpi"; }
  // What is enqueued owns its arguments and changes none: it may run any number of times.
  bool capturable() const override { return true; }

  std::unique_ptr<Communicator> split(int color, int key) override {
    if (color < 0) throw Error("rank {}: split with color {}, expected at least 0", rank_, color);
    // The split itself blocks and keeps the lock: everybody is here before it begins, so work that is still under way
    // on other streams cannot be what a member waits for.
    barrier();
    MPI_Comm part = MPI_COMM_NULL;
    std::lock_guard lock(session_->mutex);
    check(MPI_Comm_split(comm_, color, key, &part), "MPI_Comm_split", 0);
    return std::make_unique<Mpi>(session_, part, piece_);
  }

  void exchange(std::span<const Message> messages, Stream& stream) override {
    for (const Message& message : messages) check_peer(message.peer);
    stream.enqueue([this, list = std::vector(messages.begin(), messages.end())] { exchange_now(list); });
  }

  void all_reduce(float* data, size_t n, Stream& stream) override {
    stream.enqueue([this, data, n] {
      // Open MPI's MPI_Iallreduce takes fresh memory at every call: in pieces that malloc serves from what it has, a
      // vector of 45 MB takes a quarter of the time (two ranks, shared memory). The blocking MPI_Allreduce lies between
      // the two, and keeps a core busy while it waits.
      constexpr size_t cached = size_t{256} << 10;
      pieces(n * sizeof(float), std::min(cached, piece_), [&](size_t offset, int bytes) {
        collective("MPI_Iallreduce", bytes, [&](MPI_Request* request) {
          return MPI_Iallreduce(MPI_IN_PLACE, data + offset / sizeof(float), bytes / int{sizeof(float)}, MPI_FLOAT,
                                MPI_SUM, comm_, request);
        });
      });
    });
  }

  void reduce_scatter(const float* in, float* out, size_t n, Stream& stream) override {
    stream.enqueue([this, in, out, n] {
      // By blocks and not as one call, since a piece of every block is not one range of `in`.
      for (int owner = 0; owner < size_; ++owner) {
        const float* block = in + n * static_cast<size_t>(owner);
        pieces(n * sizeof(float), piece_, [&](size_t offset, int bytes) {
          collective("MPI_Ireduce", bytes, [&](MPI_Request* request) {
            return MPI_Ireduce(block + offset / sizeof(float), out + offset / sizeof(float), bytes / int{sizeof(float)},
                               MPI_FLOAT, MPI_SUM, owner, comm_, request);
          });
        });
      }
    });
  }

  void all_gather(const std::byte* mine, std::byte* all, size_t bytes, Stream& stream) override {
    std::vector<Message> messages;
    for (int peer = 0; peer < size_; ++peer) {
      if (peer != rank_) messages.push_back({peer, mine, bytes, all + bytes * static_cast<size_t>(peer), bytes});
    }
    copy_own(mine, all + bytes * static_cast<size_t>(rank_), bytes, stream);
    exchange(messages, stream);
  }

  void all_to_all(const std::byte* in, std::byte* out, size_t bytes, Stream& stream) override {
    std::vector<Message> messages;
    for (int peer = 0; peer < size_; ++peer) {
      const size_t offset = bytes * static_cast<size_t>(peer);
      if (peer != rank_) messages.push_back({peer, in + offset, bytes, out + offset, bytes});
    }
    const size_t own = bytes * static_cast<size_t>(rank_);
    copy_own(in + own, out + own, bytes, stream);
    exchange(messages, stream);
  }

  void broadcast(std::byte* data, size_t bytes, int root, Stream& stream) override {
    check_peer(root);
    stream.enqueue([this, data, bytes, root] {
      pieces(bytes, piece_, [&](size_t offset, int count) {
        collective("MPI_Ibcast", count, [&](MPI_Request* request) {
          return MPI_Ibcast(data + offset, count, MPI_BYTE, root, comm_, request);
        });
      });
    });
  }

  void abort(std::string_view why) noexcept override { abort_with(why, 1); }

  void abort_with(std::string_view why, int exit_code) noexcept {
    int rank = rank_, size = size_;
    // A thread inside a long MPI call must not keep the others from ending.
    const std::unique_lock lock(session_->mutex, std::chrono::seconds(1));
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    std::array<char, 256> host{};
    gethostname(host.data(), host.size() - 1);
    log().error("rank {} of {} on {}: {}", rank, size, host.data(), why);
    MPI_Abort(MPI_COMM_WORLD, exit_code);
  }

  void barrier() {
    collective("MPI_Ibarrier", 0, [&](MPI_Request* request) { return MPI_Ibarrier(comm_, request); });
  }

 private:
  void check_peer(int peer) const {
    if (peer < 0 || peer >= size_) throw Error("rank {}: peer {} is not in 0..{}", rank_, peer, size_ - 1);
  }

  void check(int code, std::string_view call, size_t bytes) const {
    if (code != MPI_SUCCESS) throw Error("rank {}: {} of {} bytes failed: {}", rank_, call, bytes, error_text(code));
  }

  /// A rank's own block, which MPI must not be asked to send onto itself: all_gather may be called in place.
  static void copy_own(const std::byte* from, std::byte* to, size_t bytes, Stream& stream) {
    stream.enqueue([=] {
      if (bytes != 0 && from != to) std::memcpy(to, from, bytes);
    });
  }

  template <class Function>
  static void pieces(size_t bytes, size_t piece, Function function) {
    for (size_t offset = 0; offset < bytes; offset += piece) {
      function(offset, static_cast<int>(std::min(piece, bytes - offset)));
    }
  }

  template <class Start>
  void collective(std::string_view call, int bytes, Start start) {
    MPI_Request request = MPI_REQUEST_NULL;
    {
      std::lock_guard lock(session_->mutex);
      check(start(&request), call, static_cast<size_t>(bytes));
    }
    for (Patience patience;; patience.pause()) {
      int done = 0;
      std::lock_guard lock(session_->mutex);
      check(MPI_Test(&request, &done, MPI_STATUS_IGNORE), call, static_cast<size_t>(bytes));
      if (done) return;
    }
  }

  void exchange_now(const std::vector<Message>& messages);

  std::shared_ptr<Session> session_;
  MPI_Comm comm_;
  size_t piece_;
  int rank_ = 0, size_ = 1;
};

void Mpi::exchange_now(const std::vector<Message>& messages) {
  struct Transfer {
    const char* call;
    int peer, bytes;
  };
  std::vector<MPI_Request> requests;
  std::vector<Transfer> transfers;
  const auto post = [&](const char* call, int peer, int bytes, auto start) {
    requests.push_back(MPI_REQUEST_NULL);
    transfers.push_back({call, peer, bytes});
    std::lock_guard lock(session_->mutex);
    const int code = start(&requests.back());
    if (code != MPI_SUCCESS) {
      throw Error("rank {}: {} of {} bytes, peer {}: {}", rank_, call, bytes, peer, error_text(code));
    }
  };
  // Receives first: what arrives then finds its place without a detour.
  for (const Message& message : messages) {
    pieces(message.receive_bytes, piece_, [&](size_t offset, int bytes) {
      post("MPI_Irecv", message.peer, bytes, [&](MPI_Request* request) {
        return MPI_Irecv(message.receive + offset, bytes, MPI_BYTE, message.peer, 0, comm_, request);
      });
    });
  }
  for (const Message& message : messages) {
    pieces(message.send_bytes, piece_, [&](size_t offset, int bytes) {
      post("MPI_Isend", message.peer, bytes, [&](MPI_Request* request) {
        return MPI_Isend(message.send + offset, bytes, MPI_BYTE, message.peer, 0, comm_, request);
      });
    });
  }

  std::vector<MPI_Status> statuses(requests.size());
  const int count = static_cast<int>(requests.size());
  for (Patience patience;; patience.pause()) {
    int done = 0;
    std::lock_guard lock(session_->mutex);
    const int code = MPI_Testall(count, requests.data(), &done, statuses.data());
    for (size_t i = 0; code != MPI_SUCCESS && i < statuses.size(); ++i) {
      const int own = code == MPI_ERR_IN_STATUS ? statuses[i].MPI_ERROR : code;
      if (own == MPI_SUCCESS || own == MPI_ERR_PENDING) continue;
      throw Error("rank {}: {} of {} bytes, peer {}: {}", rank_, transfers[i].call, transfers[i].bytes,
                  transfers[i].peer, error_text(own));
    }
    if (done) break;
  }
  for (size_t i = 0; i < transfers.size(); ++i) {
    int got = transfers[i].bytes;
    if (transfers[i].call == std::string_view("MPI_Irecv")) MPI_Get_count(&statuses[i], MPI_BYTE, &got);
    if (got != transfers[i].bytes) {
      throw Error("rank {} expected {} bytes from rank {}, which sent {}", rank_, transfers[i].bytes, transfers[i].peer,
                  got);
    }
  }
}

}  // namespace

std::unique_ptr<Communicator> make_mpi(size_t piece) {
  if (piece < sizeof(float) || piece > size_t{1} << 30 || piece % sizeof(float) != 0) {
    throw Error("MPI pieces of {} bytes, expected a multiple of 4 up to 2^30", piece);
  }
  auto session = std::make_shared<Session>();
  auto world = std::make_unique<Mpi>(session, MPI_COMM_WORLD, piece);
  if (world->size() != launched_ranks() && launched_ranks() > 1) {
    throw Error(
        "the launcher started {} ranks, but each of them sees an MPI of {}: use the mpirun of the MPI library that "
        "this program was built with, or srun --mpi=pmix (srun --mpi=list shows what there is)",
        launched_ranks(), world->size());
  }
  return world;
}

std::string mpi_library_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);  // allowed before MPI_Init
  const std::string whole(text.data());
  return whole.substr(0, whole.find(','));
}

void abort_mpi(Communicator& communicator, std::string_view why, int exit_code) noexcept {
  if (auto* mpi = dynamic_cast<Mpi*>(&communicator)) return mpi->abort_with(why, exit_code);
  communicator.abort(why);
}

}  // namespace lockstep
