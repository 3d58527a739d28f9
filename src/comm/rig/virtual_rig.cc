#include "comm/rig/virtual_rig.h"

#include <algorithm>
#include <barrier>
#include <cstring>
#include <numeric>
#include <thread>

#include "base/error.h"

namespace tandem {
namespace {

constexpr std::uint64_t kLateLooks = 2;  // of what a fault makes late
constexpr std::uint64_t kLowWord = 0xffffffffu, kHighWord = kLowWord << 32;

}  // namespace

// The bits of `mask` of one half of a pack, put by a block of a rank.
struct VirtualRig::Store {
  std::size_t half;
  std::uint64_t mask, value;
  int rank, block;
  std::uint64_t looks;  // of its receiver in vain, before it arrives
  bool fenced = true;   // a fence waits for it

  void apply(std::vector<std::atomic<std::uint64_t>>& inbox) const {
    if (mask == ~std::uint64_t{0}) return inbox[half].store(value, std::memory_order_relaxed);
    std::uint64_t seen = inbox[half].load(std::memory_order_relaxed);
    while (!inbox[half].compare_exchange_weak(seen, (seen & ~mask) | value, std::memory_order_relaxed)) {
    }
  }
};

// Inboxes are halves of packs that any thread may load and store. Stores on their way wait in the receiver's mail until
// their place has been looked at as often as they are late; none overtakes an older one to the same place.
struct VirtualRig::Rank {
  struct Block {
    explicit Block(int threads) : barrier(threads), summands(static_cast<std::size_t>(threads)) {}
    std::barrier<> barrier;
    std::vector<float> summands;  // by thread
    std::atomic<int> votes_against{0};
    std::vector<std::uint32_t> emptied;  // by rank, before the call
  };

  Rank(std::size_t num_halves, std::size_t num_words, std::uint32_t last_sequence, int num_blocks, int threads)
      : inbox(num_halves), words(num_words), kernel_boundary(num_blocks * threads) {
    for (auto& word : words) word.store(last_sequence, std::memory_order_relaxed);
    for (int b = 0; b < num_blocks; ++b) blocks.push_back(std::make_unique<Block>(threads));
  }

  std::vector<std::atomic<std::uint64_t>> inbox;
  std::vector<std::atomic<std::uint32_t>> words;
  std::vector<std::unique_ptr<Block>> blocks;
  std::atomic<bool> has_mail{false};
  std::mutex mail_mutex;
  std::vector<Store> mail;
  std::barrier<> kernel_boundary;
};

VirtualRig::VirtualRig(const RigOptions& options) : options_(options), layout_(options.world_size, options.rooms) {
  TANDEM_CHECK(options.world_size >= 2 && options.blocks >= 1 && options.threads >= 1,
               "rig of {} ranks x {} blocks x {} threads", options.world_size, options.blocks, options.threads);
  for (int r = 0; r < options.world_size; ++r) {
    ranks_.push_back(std::make_unique<Rank>(static_cast<std::size_t>(layout_.packet_bytes() / kPackBytes * 2),
                                            static_cast<std::size_t>(layout_.num_words()),
                                            advance_generation(options.first_generation, -1), options.blocks,
                                            options.threads));
  }
  links_.assign(static_cast<std::size_t>(options.world_size * options.world_size), options.link);
}

VirtualRig::~VirtualRig() = default;

void VirtualRig::fill(const Area& area, std::uint32_t word) {
  for (const auto& rank : ranks_) {
    for (std::int64_t half = area.first_packet * 2; half < area.end() * 2; ++half) {
      rank->inbox[static_cast<std::size_t>(half)].store(word | std::uint64_t{word} << 32, std::memory_order_relaxed);
    }
  }
}

void VirtualRig::set_link(int from, int to, const LinkBehaviour& behaviour) {
  links_[static_cast<std::size_t>(from * options_.world_size + to)] = behaviour;
}

std::optional<RigFailure> VirtualRig::failure() const {
  const std::lock_guard lock(failure_mutex_);
  return failure_;
}

void VirtualRig::deliver(int to, std::size_t half) {
  Rank& rank = *ranks_[static_cast<std::size_t>(to)];
  if (!rank.has_mail.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(rank.mail_mutex);
  // In order of posting, so that of two words to one place the later stays.
  std::erase_if(rank.mail, [&](Store& store) {
    if (store.half != half || store.looks-- > 0) return false;
    store.apply(rank.inbox);
    return true;
  });
  rank.has_mail.store(!rank.mail.empty(), std::memory_order_relaxed);
}

// What a fence waits for: what one block has on its way to one rank.
void VirtualRig::deliver_all(int from, int block, int to) {
  Rank& rank = *ranks_[static_cast<std::size_t>(to)];
  if (!rank.has_mail.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(rank.mail_mutex);
  std::erase_if(rank.mail, [&](const Store& store) {
    if (store.rank != from || store.block != block || !store.fenced) return false;
    store.apply(rank.inbox);
    return true;
  });
}

void VirtualRig::put(int to, Store store) {
  Rank& rank = *ranks_[static_cast<std::size_t>(to)];
  if (store.looks == 0 && !rank.has_mail.load(std::memory_order_relaxed)) return store.apply(rank.inbox);
  const std::lock_guard lock(rank.mail_mutex);
  for (const Store& older : rank.mail) {
    if (older.half == store.half) store.looks = std::max(store.looks, older.looks);
  }
  if (store.looks == 0) return store.apply(rank.inbox);
  rank.mail.push_back(store);
  rank.has_mail.store(true, std::memory_order_relaxed);
}

void VirtualRig::run(int num_calls, const std::function<void(int, int)>& prepare,
                     const std::function<void(Env&, int)>& body, const std::function<void(int, int)>& done) {
  std::barrier start(options_.world_size * options_.blocks * options_.threads);
  std::vector<std::jthread> lanes;
  const auto run_lane = [&](int r, int block, int thread) {
    Rank& rank = *ranks_[static_cast<std::size_t>(r)];
    Env env(*this, r, block, thread);
    start.arrive_and_wait();
    for (int call = 0; call < num_calls; ++call) {
      if (env.lane() == 0) prepare(r, call);
      if (thread == 0) {
        auto& emptied = rank.blocks[static_cast<std::size_t>(block)]->emptied;
        emptied.clear();
        for (int to = 0; to < options_.world_size; ++to) emptied.push_back(env.word(layout_.emptied_word(block, to)));
      }
      rank.kernel_boundary.arrive_and_wait();
      if (!poisoned()) body(env, call);
      rank.kernel_boundary.arrive_and_wait();
      env.generation_ = advance_generation(env.generation_, 1);
      if (env.lane() == 0 && !poisoned()) done(r, call);
    }
  };
  for (int r = 0; r < options_.world_size; ++r) {
    for (int block = 0; block < options_.blocks; ++block) {
      for (int thread = 0; thread < options_.threads; ++thread) lanes.emplace_back(run_lane, r, block, thread);
    }
  }
}

VirtualRig::Env::Env(VirtualRig& rig, int rank, int block, int thread)
    : rig_(rig),
      rank_(rank),
      block_(block),
      thread_(thread),
      generation_(rig.options_.first_generation),
      sent_(static_cast<std::size_t>(rig.options_.world_size), advance_generation(rig.options_.first_generation, -1)),
      received_(sent_),
      random_(rig.options_.seed * 1'000'003 + static_cast<std::uint64_t>(rank) * 4096 +
              static_cast<std::uint64_t>(block * rig.options_.threads + thread)) {}

bool VirtualRig::Env::begin(std::int64_t num_packs) {
  last_num_packs_ = num_packs_;
  num_packs_ = num_packs;
  return !rig_.poisoned();
}

int VirtualRig::Env::world_size() const {
  return rig_.options_.world_size;
}
int VirtualRig::Env::num_blocks() const {
  return rig_.options_.blocks;
}
int VirtualRig::Env::num_threads() const {
  return rig_.options_.threads;
}

std::size_t VirtualRig::Env::first_half(const Area& area, int slot, std::int64_t index) const {
  TANDEM_CHECK(0 <= slot && slot < area.num_slots && 0 <= index && index < area.slot_packets,
               "packet {} of slot {}: there are {} slots of {}", index, slot, area.num_slots, area.slot_packets);
  return static_cast<std::size_t>(area.packet(slot, index)) * 2;
}

struct VirtualRig::Env::Fate {
  bool dropped, torn, unfenced;
  int to;
  Pack pack;  // as it arrives
};

const LinkBehaviour& VirtualRig::Env::link(int to) const {
  return rig_.links_[static_cast<std::size_t>(rank_ * world_size() + to)];
}

bool VirtualRig::Env::draw(double probability) {
  return probability > 0 && std::uniform_real_distribution(0.0, 1.0)(random_) < probability;
}

VirtualRig::Env::Fate VirtualRig::Env::draw_fate(int to, const Pack& pack) {
  const LinkBehaviour& fault = link(to);
  Fate fate{draw(fault.drop), draw(fault.tear), draw(fault.overtaken), draw(fault.mirror) ? rank_ : to, pack};
  if (draw(fault.zero)) fate.pack = Pack{};
  if (draw(fault.flip)) fate.pack.words[random_() % 4] ^= std::uint32_t{1} << random_() % 32;
  return fate;
}

void VirtualRig::Env::store_half(std::size_t first, std::size_t half, std::uint64_t mask, const Fate& fate,
                                 std::uint64_t looks) {
  const std::uint64_t value = fate.pack.words[2 * half] | std::uint64_t{fate.pack.words[2 * half + 1]} << 32;
  rig_.put(fate.to,
           {first + half, mask, value & mask, rank_, block_, fate.unfenced ? kLateLooks : looks, !fate.unfenced});
}

void VirtualRig::Env::put_halves(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) {
  const std::size_t first = first_half(area, slot, index);
  const Fate fate = draw_fate(to, pack);
  if (fate.dropped) return;
  const std::size_t swap = random_() % 2;
  for (std::size_t i = 0; i < 2; ++i) {
    if (fate.torn) {
      store_half(first, i, kHighWord, fate, 0);
      store_half(first, i, kLowWord, fate, kLateLooks);
    } else {
      store_half(first, i ^ swap, kLowWord | kHighWord, fate, draw_looks(to));
    }
  }
}

void VirtualRig::Env::put_words(const Area& area, int to, int slot, std::int64_t index, const Pack& pack) {
  const std::size_t first = first_half(area, slot, index);
  const Fate fate = draw_fate(to, pack);
  if (fate.dropped) return;
  std::size_t order[4] = {0, 1, 2, 3};
  std::shuffle(std::begin(order), std::end(order), random_);
  for (const std::size_t word : order) {
    store_half(first, word / 2, word % 2 == 0 ? kLowWord : kHighWord, fate, draw_looks(to));
  }
}

std::uint64_t VirtualRig::Env::draw_looks(int to) {
  return random_() % (std::uint64_t{link(to).max_delay} + 1);
}

Pack VirtualRig::Env::get_words(const Area& area, int slot, std::int64_t index) {
  const auto& inbox = rig_.ranks_[static_cast<std::size_t>(rank_)]->inbox;
  const std::size_t first = first_half(area, slot, index);
  Pack pack;
  for (std::size_t i = 0; i < 2; ++i) {
    rig_.deliver(rank_, first + i);
    const std::uint64_t half = inbox[first + i].load(std::memory_order_relaxed);
    pack.words[2 * i] = static_cast<std::uint32_t>(half);
    pack.words[2 * i + 1] = static_cast<std::uint32_t>(half >> 32);
  }
  return pack;
}

void VirtualRig::Env::refill(const Area& area, int slot, std::int64_t index, const Pack& pack) {
  auto& inbox = rig_.ranks_[static_cast<std::size_t>(rank_)]->inbox;
  const std::size_t first = first_half(area, slot, index);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t value = pack.words[2 * i] | std::uint64_t{pack.words[2 * i + 1]} << 32;
    inbox[first + i].store(value, std::memory_order_relaxed);
  }
}

bool VirtualRig::Env::keep_waiting(Waiting& waiting) {
  if (rig_.poisoned()) return false;
  if (++waiting.polls % 64 == 0) {
    const Clock::time_point now = Clock::now();
    if (waiting.polls == 64) wait_began_ = now;
    const auto timeout = static_cast<std::uint64_t>(std::chrono::nanoseconds(rig_.options_.timeout).count());
    if (now - wait_began_ > std::chrono::nanoseconds(waiting.limit_ns(timeout))) {
      const std::lock_guard lock(rig_.failure_mutex_);
      if (!rig_.failure_) rig_.failure_ = RigFailure{rank_, waiting.peer, waiting.phase, generation_};
      if (rig_.options_.poisons) rig_.poisoned_.store(true, std::memory_order_relaxed);
      return false;
    }
  }
  std::this_thread::yield();
  return true;
}

void VirtualRig::Env::add_sent(int to, std::int64_t chunks) {
  std::uint32_t& sent = sent_[static_cast<std::size_t>(to)];
  sent = advance_generation(sent, chunks);
}
void VirtualRig::Env::add_received(int from, std::int64_t chunks) {
  std::uint32_t& received = received_[static_cast<std::size_t>(from)];
  received = advance_generation(received, chunks);
}

std::uint32_t VirtualRig::Env::word(std::int64_t index) {
  return rig_.ranks_[static_cast<std::size_t>(rank_)]->words[static_cast<std::size_t>(index)].load(
      std::memory_order_acquire);
}

void VirtualRig::Env::raise(int to, std::int64_t index, std::uint32_t value) {
  rig_.deliver_all(rank_, block_, to);
  rig_.ranks_[static_cast<std::size_t>(to)]->words[static_cast<std::size_t>(index)].store(value,
                                                                                          std::memory_order_release);
}

void VirtualRig::Env::raise_relaxed(int to, std::int64_t index, std::uint32_t value) {
  rig_.ranks_[static_cast<std::size_t>(to)]->words[static_cast<std::size_t>(index)].store(value,
                                                                                          std::memory_order_relaxed);
}

void VirtualRig::Env::fence() {
  for (int to = 0; to < world_size(); ++to) rig_.deliver_all(rank_, block_, to);
}

std::uint32_t VirtualRig::Env::emptied(int to) const {
  return rig_.ranks_[static_cast<std::size_t>(rank_)]
      ->blocks[static_cast<std::size_t>(block_)]
      ->emptied[static_cast<std::size_t>(to)];
}

void VirtualRig::Env::sync_block() {
  rig_.ranks_[static_cast<std::size_t>(rank_)]->blocks[static_cast<std::size_t>(block_)]->barrier.arrive_and_wait();
}

bool VirtualRig::Env::sync_block(bool ok) {
  Rank::Block& block = *rig_.ranks_[static_cast<std::size_t>(rank_)]->blocks[static_cast<std::size_t>(block_)];
  if (!ok) block.votes_against.fetch_add(1, std::memory_order_relaxed);
  block.barrier.arrive_and_wait();
  const bool all = block.votes_against.load(std::memory_order_relaxed) == 0;
  block.barrier.arrive_and_wait();
  if (!ok) block.votes_against.fetch_sub(1, std::memory_order_relaxed);
  return all;
}

bool VirtualRig::Env::team_sum(bool ok, float& x) {
  Rank::Block& block = *rig_.ranks_[static_cast<std::size_t>(rank_)]->blocks[static_cast<std::size_t>(block_)];
  block.summands[static_cast<std::size_t>(thread_)] = x;
  const bool all = sync_block(ok);
  x = std::accumulate(block.summands.begin(), block.summands.end(), 0.0f);
  sync_block();
  return all;
}

}  // namespace tandem
