#include "comm/push/push_group.h"

#include <cuda_runtime_api.h>

#include <algorithm>

#include "base/error.h"
#include "base/log.h"
#include "comm/protocol/packets.h"
#include "device/cpu/process_memory.h"
#include "device/cuda/cuda_check.h"
#include "device/stream.h"

namespace tandem {
namespace {

std::size_t own_bytes(const InboxLayout& layout) {
  return sizeof(DeviceWords) +
         sizeof(std::uint32_t) * static_cast<std::size_t>(2 * layout.ring_blocks * layout.world_size);
}

}  // namespace

PushGroup::PushGroup(const GroupOptions& options, const GpuGroup& gpus, InboxPlace place, const Tuning& tuning) {
  const int world_size = options.world_size;
  const std::string_view backend = place == InboxPlace::kPeerMemory ? "p2p" : "native";
  for (int r = 0; r < world_size; ++r) devices_.push_back(gpus.device(r));
  // Of a tuning, what does not fit is passed over.
  const std::int64_t tuned = tuning.inbox_of(backend) >= least_inbox_bytes(world_size) ? tuning.inbox_of(backend) : 0;
  const std::int64_t asked = options.inbox_bytes != 0 ? options.inbox_bytes : tuned;
  limits_ = {.world_size = world_size,
             .max_blocks = 1 << 20,
             .rooms = plan_rooms(world_size, place, asked),
             .tuned = tuning.calls_of(backend)};
  for (const int device : devices_) {
    const auto ranks_here = static_cast<int>(std::count(devices_.begin(), devices_.end(), device));
    // A kernel's blocks may wait beside those of the kernel before, and among ranks that share a GPU take the room of
    // blocks that somebody waits for.
    limits_.max_blocks =
        std::min(limits_.max_blocks, cuda::device_info(device).num_sms / (ranks_here > 1 ? 2 * ranks_here : 1));
  }
  const InboxLayout layout(world_size, limits_.rooms);
  const auto inbox_bytes = static_cast<std::size_t>(layout.bytes());
  const bool peers = place == InboxPlace::kPeerMemory;
  check_memory(layout.bytes(), peers);
  for (const int device : devices_) {
    if (peers) {
      for (const int other : devices_) {
        if (other != device && !cuda::can_access_peer(device, other)) {
          fail(ErrorKind::kUnsupported, "p2p: cuda:{} cannot access the memory of cuda:{}", device, other);
        }
      }
    } else {
      host_inboxes_.emplace_back(inbox_bytes);
    }
    peer_memory_.emplace_back(device, peers ? devices_ : std::vector<int>{device},
                              (peers ? inbox_bytes : 0) + own_bytes(layout));
  }
  *static_cast<std::uint32_t*>(poison_.data()) = 1;
  for (const int device : devices_) wake_streams_.try_emplace(device, Stream::cuda(device));
  ranks_.resize(static_cast<std::size_t>(world_size));
  for (int r = 0; r < world_size; ++r) {
    PushRank& mine = ranks_[static_cast<std::size_t>(r)];
    const auto own_words = [&](int of) {
      return reinterpret_cast<DeviceWords*>(static_cast<std::byte*>(peer_memory_[static_cast<std::size_t>(of)].data()) +
                                            (peers ? inbox_bytes : 0));
    };
    mine.rank = r;
    mine.world_size = world_size;
    mine.deadline_ns = static_cast<std::uint64_t>(options.timeout.count());
    // A poll of host memory takes many times as long, and again as many times as ranks of this GPU share its link.
    const auto ranks_here =
        static_cast<std::uint32_t>(std::count(devices_.begin(), devices_.end(), devices_[static_cast<std::size_t>(r)]));
    mine.polls_a_look = peers ? 1024 : std::max(8u, 64 / ranks_here);
    mine.words = own_words(r);
    mine.counters = reinterpret_cast<std::uint32_t*>(mine.words + 1);
    mine.host = gpus.words_on_gpu(r);
    mine.layout = layout;
    for (int other = 0; other < world_size; ++other) {
      const auto o = static_cast<std::size_t>(other);
      mine.inboxes[other] = static_cast<std::byte*>(peers ? peer_memory_[o].data()
                                                          : host_inboxes_[o].on(devices_[static_cast<std::size_t>(r)]));
      mine.poisons[other] = peers || other == r ? &own_words(other)->poison : nullptr;
    }
    set_up(r, devices_[static_cast<std::size_t>(r)], std::min(options.first_generation, kLastGeneration));
  }
  log(LogLevel::kDebug, Subsystem::kComm, "{}: {} ranks, {} bytes of inbox each, up to {} blocks, {} tuned sizes",
      backend, world_size, inbox_bytes, limits_.max_blocks, limits_.tuned.size());
}

// Before anything is taken: half of the ranks' inboxes are no use, and a host that swaps is none either.
void PushGroup::check_memory(std::int64_t inbox_bytes, bool peers) const {
  if (!peers) {
    const std::uint64_t available = available_memory();
    if (available > 0) check_memory_for_inboxes("the host", limits_.world_size, inbox_bytes, available);
    return;
  }
  for (const int device : devices_) {
    const auto ranks_here = static_cast<int>(std::count(devices_.begin(), devices_.end(), device));
    check_memory_for_inboxes(format("cuda:{}", device), ranks_here, inbox_bytes, cuda::free_bytes(device));
  }
}

// All memory is zero. Counters begin at `start`, and sentinel areas with the sentinel everywhere.
void PushGroup::set_up(int r, int device, std::uint32_t start) {
  const PushRank& rank = ranks_[static_cast<std::size_t>(r)];
  const InboxLayout& layout = rank.layout;
  const cuda::OnDevice current(device);  // where kernels are launched and loaded
  const Stream stream = Stream::cuda(device);
  const auto fill = [&](void* out, std::uint32_t word, std::int64_t count) {
    TANDEM_CUDA_CALL(static_cast<cudaError_t>(launch_fill(stream.cuda_handle(), out, word, count)));
  };
  std::byte* inbox = rank.inboxes[r];
  for (const Area& area : {layout.one_shot_sentinel, layout.two_shot_sentinel}) {
    fill(inbox + area.first_packet * kPackBytes, SentinelPackets::kSentinel, (area.end() - area.first_packet) * 4);
  }
  fill(inbox + layout.packet_bytes(), start, layout.num_words() * InboxLayout::kWordBytes / 4);
  fill(rank.counters, start, std::int64_t{2} * layout.ring_blocks * layout.world_size);
  DeviceWords words;
  for (DeviceWords::Area& area : words.areas) area.progress = std::uint64_t{start} << kProgressBits;
  cuda::copy(stream.cuda_handle(), rank.words, &words, sizeof(words));
  TANDEM_CUDA_CALL(static_cast<cudaError_t>(load_push_kernels(rank.world_size)));
  stream.synchronize();
}

// Copies need no room on an SM, so kernels that fill the GPU do not keep them waiting.
void PushGroup::wake_all() noexcept {
  for (const PushRank& rank : ranks_) {
    const auto place = wake_streams_.find(devices_[static_cast<std::size_t>(rank.rank)]);
    cudaMemcpyAsync(&rank.words->poison, poison_.data(), poison_.bytes(), cudaMemcpyHostToDevice,
                    static_cast<cudaStream_t>(place->second.cuda_handle()));
  }
  cudaGetLastError();  // the words of the host still say it
}

// Kernels that still run leave before their deadline; then nobody writes here any more.
PushGroup::~PushGroup() {
  for (const int device : devices_) {
    const cuda::OnDevice current(device);
    cudaDeviceSynchronize();
  }
}

}  // namespace tandem
