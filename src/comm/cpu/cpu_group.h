#pragma once
// The memory that the ranks of one CPU group share. A word has one writer, named beside it, but for
// doorbells and counts, which everybody may raise.

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "comm/call.h"
#include "comm/doorbell.h"
#include "device/buffer.h"

namespace tandem {

class CpuGroup final : public BackendState {
 public:
  /// Payloads up to this are copied to shared memory, which saves a barrier (docs/decisions/0002-cpu-collectives.md).
  static constexpr std::size_t kStagedBytes = 16 * 1024;
  static constexpr int kSlots = 4;
  static constexpr std::size_t kSlotBytes = 32 * 1024;

  /// One rank's words; the writer is that rank.
  struct alignas(64) Rank {
    /// 2 g once it has published call g, 2 g + 1 once it has moved the data of call g; modulo 2^32.
    std::atomic<std::uint32_t> generation;
    std::atomic<bool> joined{false};
    std::atomic<bool> departed{false};
    alignas(64) std::atomic<bool> touching{false};  ///< it may read or write tensors of other ranks
    Doorbell messages;                              ///< rung by its peers of send and recv
  };
  /// What a rank publishes for call g, at place g & 1.
  struct alignas(64) Published {
    const void* input;
    void* output;
    Call call;
  };
  /// From one rank to another: a ring of slots. Counts are modulo 2^32.
  struct Channel {
    alignas(64) std::atomic<std::uint32_t> sent;      ///< slots filled; writer: the sender
    alignas(64) std::atomic<std::uint32_t> received;  ///< slots emptied; writer: the receiver
    struct Message {
      DType dtype;
      std::int64_t count;
    };
    alignas(64) std::array<Message, kSlots> messages;  ///< of the message that the slot belongs to
  };

  explicit CpuGroup(const GroupOptions& options);
  void wake_all() noexcept override;

  Rank& rank(int r) { return ranks_[static_cast<std::size_t>(r)]; }
  Published& published(int r, std::uint32_t generation) {
    return published_[static_cast<std::size_t>(r) * 2 + (generation & 1)];
  }
  void* staging(int r, std::uint32_t generation) const {
    return static_cast<std::byte*>(staging_.data()) +
           (static_cast<std::size_t>(r) * 2 + (generation & 1)) * kStagedBytes;
  }
  Channel& channel(int from, int to) { return channels_[channel_index(from, to)]; }
  void* slot(int from, int to, std::uint32_t number) const {
    return static_cast<std::byte*>(slots_.data()) + (channel_index(from, to) * kSlots + number % kSlots) * kSlotBytes;
  }
  Clock::duration spin() const { return spin_; }

  Doorbell barrier;                ///< rung by the last rank to reach a phase
  std::atomic<int> departures{0};  ///< ranks that have departed

 private:
  std::size_t channel_index(int from, int to) const {
    return static_cast<std::size_t>(from) * ranks_.size() + static_cast<std::size_t>(to);
  }
  std::vector<Rank> ranks_;
  std::vector<Published> published_;
  std::vector<Channel> channels_;
  Buffer staging_;
  Buffer slots_;
  Clock::duration spin_;
};

}  // namespace tandem
