#include "comm/rig/virtual_rig.h"

#include <algorithm>
#include <barrier>
#include <cstring>
#include <numeric>
#include <thread>

#include "base/error.h"

namespace tandem {

// The bits of `mask` of one half of a pack.
struct VirtualRig::Store {
  std::size_t half;
  std::uint64_t mask, value;

  void apply(std::vector<std::atomic<std::uint64_t>>& inbox) const {
    if (mask == ~std::uint64_t{0}) return inbox[half].store(value, std::memory_order_relaxed);
    std::uint64_t seen = inbox[half].load(std::memory_order_relaxed);
    while (!inbox[half].compare_exchange_weak(seen, (seen & ~mask) | value, std::memory_order_relaxed)) {
    }
  }
};

// Inboxes are halves of packs that any thread may load and store. Stores on their way wait in the receiver's mail until
// its polls have counted past their time; none overtakes an older one to the same place.
struct VirtualRig::Rank {
  struct Mail {
    std::uint64_t due;
    Store store;
  };

  Rank(std::size_t num_halves, int lanes) : inbox(num_halves), kernel_boundary(lanes) {}

  std::vector<std::atomic<std::uint64_t>> inbox;
  std::atomic<std::uint64_t> polls{0};
  std::atomic<bool> has_mail{false};
  std::mutex mail_mutex;
  std::vector<Mail> mail;
  std::barrier<> kernel_boundary;
  Call call;
  std::int64_t last_num_packs = 0;
};

VirtualRig::VirtualRig(const RigOptions& options) : options_(options) {
  TANDEM_CHECK(options.world_size >= 2 && options.lanes >= 1 && options.num_slots >= 1 && options.slot_packets >= 1,
               "rig of {} ranks x {} lanes, {} slots of {} packets", options.world_size, options.lanes,
               options.num_slots, options.slot_packets);
  const std::size_t halves =
      static_cast<std::size_t>(options.num_slots) * static_cast<std::size_t>(options.slot_packets) * 2;
  for (int r = 0; r < options.world_size; ++r) ranks_.push_back(std::make_unique<Rank>(halves, options.lanes));
  links_.assign(static_cast<std::size_t>(options.world_size * options.world_size), options.link);
}

VirtualRig::~VirtualRig() = default;

void VirtualRig::fill(std::uint32_t word) {
  for (const auto& rank : ranks_) {
    for (auto& half : rank->inbox) half.store(word | std::uint64_t{word} << 32, std::memory_order_relaxed);
  }
}

void VirtualRig::set_link(int from, int to, const LinkBehaviour& behaviour) {
  links_[static_cast<std::size_t>(from * options_.world_size + to)] = behaviour;
}

std::optional<RigFailure> VirtualRig::failure() const {
  const std::lock_guard lock(failure_mutex_);
  return failure_;
}

void VirtualRig::deliver(int to) {
  Rank& rank = *ranks_[static_cast<std::size_t>(to)];
  const std::uint64_t now = rank.polls.fetch_add(1, std::memory_order_relaxed);
  if (!rank.has_mail.load(std::memory_order_relaxed)) return;
  const std::lock_guard lock(rank.mail_mutex);
  // In order of posting, so that of two words to one place the later stays.
  std::erase_if(rank.mail, [&](const Rank::Mail& mail) {
    if (mail.due > now) return false;
    mail.store.apply(rank.inbox);
    return true;
  });
  rank.has_mail.store(!rank.mail.empty(), std::memory_order_relaxed);
}

void VirtualRig::put(int from, int to, const Store& store, std::uint64_t random) {
  const LinkBehaviour& link = links_[static_cast<std::size_t>(from * options_.world_size + to)];
  Rank& rank = *ranks_[static_cast<std::size_t>(to)];
  if (link.max_delay == 0) return store.apply(rank.inbox);
  const std::lock_guard lock(rank.mail_mutex);
  std::uint64_t due = rank.polls.load(std::memory_order_relaxed) + random % (link.max_delay + 1);
  for (const Rank::Mail& mail : rank.mail) {
    if (mail.store.half == store.half) due = std::max(due, mail.due);
  }
  rank.mail.push_back({due, store});
  rank.has_mail.store(true, std::memory_order_relaxed);
}

void VirtualRig::run(int num_calls, const std::function<Call(int rank, int call)>& prepare,
                     const std::function<void(Env&)>& body, const std::function<void(int rank, int call)>& done) {
  std::vector<std::jthread> threads;
  for (int r = 0; r < options_.world_size; ++r) {
    for (int lane = 0; lane < options_.lanes; ++lane) {
      threads.emplace_back([&, r, lane] {
        Rank& rank = *ranks_[static_cast<std::size_t>(r)];
        Env env(*this, r, lane);
        for (int call = 0; call < num_calls; ++call) {
          if (lane == 0) rank.call = prepare(r, call);
          rank.kernel_boundary.arrive_and_wait();
          env.call_ = rank.call;
          env.last_num_packs_ = rank.last_num_packs;
          env.deadline_ = Clock::now() + options_.timeout;
          if (!poisoned_.load(std::memory_order_relaxed)) body(env);
          rank.kernel_boundary.arrive_and_wait();
          env.generation_ = next_generation(env.generation_);
          if (lane == 0) {
            rank.last_num_packs = env.num_packs();
            if (!poisoned_.load(std::memory_order_relaxed)) done(r, call);
          }
        }
      });
    }
  }
}

VirtualRig::Env::Env(VirtualRig& rig, int rank, int lane)
    : rig_(rig),
      rank_(rank),
      lane_(lane),
      generation_(rig.options_.first_generation),
      random_(rig.options_.seed * 1'000'003 + static_cast<std::uint64_t>(rank * rig.options_.lanes + lane)) {}

int VirtualRig::Env::world_size() const {
  return rig_.options_.world_size;
}
std::int64_t VirtualRig::Env::num_lanes() const {
  return rig_.options_.lanes;
}

std::size_t VirtualRig::Env::first_half(int slot, std::int64_t index) const {
  TANDEM_CHECK(0 <= slot && slot < rig_.options_.num_slots && 0 <= index && index < rig_.options_.slot_packets,
               "packet {} of slot {}: there are {} slots of {}", index, slot, rig_.options_.num_slots,
               rig_.options_.slot_packets);
  return static_cast<std::size_t>(slot * rig_.options_.slot_packets + index) * 2;
}

Pack VirtualRig::Env::load(std::int64_t index) const {
  Pack pack{};
  std::memcpy(&pack, call_.in + index * kPackBytes,
              static_cast<std::size_t>(std::min(kPackBytes, call_.bytes - index * kPackBytes)));
  return pack;
}

void VirtualRig::Env::store(std::int64_t index, const Pack& pack) {
  std::memcpy(call_.out + index * kPackBytes, &pack,
              static_cast<std::size_t>(std::min(kPackBytes, call_.bytes - index * kPackBytes)));
}

struct VirtualRig::Env::Fate {
  bool dropped, zero;
  int to;
};

VirtualRig::Env::Fate VirtualRig::Env::draw_fate(int to) {
  const LinkBehaviour& link = rig_.links_[static_cast<std::size_t>(rank_ * world_size() + to)];
  const double chance = std::uniform_real_distribution(0.0, 1.0)(random_);
  const bool dropped = chance < link.drop;
  const bool zero = !dropped && chance < link.drop + link.zero;
  const bool mirror = !dropped && !zero && chance < link.drop + link.zero + link.mirror;
  return {dropped, zero, mirror ? rank_ : to};
}

void VirtualRig::Env::put_halves(int to, int slot, std::int64_t index, const Pack& pack) {
  const std::size_t first = first_half(slot, index);
  const Fate fate = draw_fate(to);
  const std::size_t swap = random_() % 2;
  for (std::size_t i = 0; i < 2 && !fate.dropped; ++i) {
    const std::size_t half = i ^ swap;
    const std::uint64_t value = pack.words[2 * half] | std::uint64_t{pack.words[2 * half + 1]} << 32;
    rig_.put(rank_, fate.to, {first + half, ~std::uint64_t{0}, fate.zero ? 0 : value}, random_());
  }
}

void VirtualRig::Env::put_words(int to, int slot, std::int64_t index, const Pack& pack) {
  const std::size_t first = first_half(slot, index);
  const Fate fate = draw_fate(to);
  std::size_t order[4] = {0, 1, 2, 3};
  std::shuffle(std::begin(order), std::end(order), random_);
  for (std::size_t i = 0; i < 4 && !fate.dropped; ++i) {
    const std::size_t word = order[i];
    const std::uint64_t shift = word % 2 * 32;
    rig_.put(rank_, fate.to,
             {first + word / 2, std::uint64_t{0xffffffffu} << shift,
              fate.zero ? 0 : std::uint64_t{pack.words[word]} << shift},
             random_());
  }
}

Pack VirtualRig::Env::get_words(int slot, std::int64_t index) {
  rig_.deliver(rank_);
  const auto& inbox = rig_.ranks_[static_cast<std::size_t>(rank_)]->inbox;
  const std::size_t first = first_half(slot, index);
  Pack pack;
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t half = inbox[first + i].load(std::memory_order_relaxed);
    pack.words[2 * i] = static_cast<std::uint32_t>(half);
    pack.words[2 * i + 1] = static_cast<std::uint32_t>(half >> 32);
  }
  return pack;
}

void VirtualRig::Env::refill(int slot, std::int64_t index, const Pack& pack) {
  auto& inbox = rig_.ranks_[static_cast<std::size_t>(rank_)]->inbox;
  const std::size_t first = first_half(slot, index);
  for (std::size_t i = 0; i < 2; ++i) {
    const std::uint64_t value = pack.words[2 * i] | std::uint64_t{pack.words[2 * i + 1]} << 32;
    inbox[first + i].store(value, std::memory_order_relaxed);
  }
}

bool VirtualRig::Env::keep_waiting(Waiting& waiting) {
  if (rig_.poisoned_.load(std::memory_order_relaxed)) return false;
  if (++waiting.polls % 64 == 0 && Clock::now() > deadline_) {
    const std::lock_guard lock(rig_.failure_mutex_);
    if (!rig_.failure_) rig_.failure_ = RigFailure{rank_, waiting.peer, waiting.phase, generation_};
    rig_.poison();
    return false;
  }
  std::this_thread::yield();
  return true;
}

}  // namespace tandem
