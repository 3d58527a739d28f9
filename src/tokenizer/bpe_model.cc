#include "tokenizer/bpe_model.h"

#include <algorithm>
#include <bit>

#include "base/error.h"
#include "tokenizer/utf8.h"

namespace tandem {
namespace {

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return (std::uint64_t{static_cast<std::uint32_t>(left)} << 32) | static_cast<std::uint32_t>(right);
}

}  // namespace

void MergeTable::reserve(std::size_t count) {
  const std::size_t wanted = std::bit_ceil(2 * count + 2);
  if (wanted <= slots_.size()) return;
  std::vector<Slot> old(wanted);
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair != kEmpty) slots_[slot_of(slot.pair)] = slot;
  }
}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  // Multiplicative hashing: the high bits of the product depend on all bits of the pair.
  std::size_t slot = (pair * 0x9E3779B97F4A7C15u) >> (64 - std::countr_zero(slots_.size()));
  while (slots_[slot].pair != kEmpty && slots_[slot].pair != pair) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void MergeTable::set(std::int32_t left, std::int32_t right, Merge merge) {
  reserve(count_ + 1);
  Slot& slot = slots_[slot_of(pair_of(left, right))];
  count_ += slot.pair == kEmpty;
  slot = {pair_of(left, right), merge};
}

const MergeTable::Merge* MergeTable::find(std::int32_t left, std::int32_t right) const {
  if (slots_.empty()) return nullptr;
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kEmpty ? nullptr : &slot.merge;
}

BpeModel::BpeModel(const Vocabulary& vocabulary, MergeTable merges, BpeRules rules)
    : merges_(std::move(merges)), rules_(rules) {
  for (int byte = 0; byte < 256; ++byte) byte_ids_[byte] = vocabulary.find(format("<0x{:02X}>", byte));
}

void BpeModel::encode(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch,
                      std::vector<std::int32_t>& ids) const {
  if (rules_.ignore_merges) {
    const std::int32_t id = vocabulary.find(word);
    if (id != Vocabulary::kUnknown) {
      ids.push_back(id);
      return;
    }
  }
  split_into_characters(vocabulary, word, scratch);
  merge(scratch);
  for (const Scratch::Symbol& symbol : scratch.symbols) {
    if (symbol.length > 0) ids.push_back(symbol.id);
  }
}

void BpeModel::split_into_characters(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch) const {
  scratch.symbols.clear();
  const auto add = [&](std::int32_t id) {
    const auto index = static_cast<std::int32_t>(scratch.symbols.size());
    scratch.symbols.push_back({.id = id, .length = 1, .previous = index - 1, .next = index + 1});
  };
  // Unknown characters wait here, because with fuse_unk one id stands for a run of them. Byte pieces do not end such a
  // run: so it is in the reference engine, and it matters only where some byte pieces are missing.
  bool unknown_waits = false;
  for (std::size_t at = 0; at < word.size();) {
    const std::string_view character = word.substr(at, utf8_length(word.substr(at)));
    at += character.size();
    const std::int32_t id = vocabulary.find(character);
    if (id != Vocabulary::kUnknown) {
      if (unknown_waits) add(*rules_.unk_id);
      unknown_waits = false;
      add(id);
      continue;
    }
    const auto byte_id = [&](char byte) { return byte_ids_[static_cast<unsigned char>(byte)]; };
    if (rules_.byte_fallback && std::none_of(character.begin(), character.end(),
                                             [&](char byte) { return byte_id(byte) == Vocabulary::kUnknown; })) {
      for (const char byte : character) add(byte_id(byte));
      continue;
    }
    if (!rules_.unk_id) continue;
    if (unknown_waits && !rules_.fuse_unk) add(*rules_.unk_id);
    unknown_waits = true;
  }
  if (unknown_waits) add(*rules_.unk_id);
  if (!scratch.symbols.empty()) scratch.symbols.back().next = -1;
}

void BpeModel::merge(Scratch& scratch) const {
  auto& [symbols, queue] = scratch;
  const auto later = [](const Scratch::Candidate& a, const Scratch::Candidate& b) {
    return a.rank != b.rank ? a.rank > b.rank : a.left > b.left;
  };
  const auto candidate_at = [&](std::int32_t left) -> std::optional<Scratch::Candidate> {
    const Scratch::Symbol& a = symbols[left];
    const Scratch::Symbol& b = symbols[a.next];
    const MergeTable::Merge* found = merges_.find(a.id, b.id);
    if (!found) return std::nullopt;
    return Scratch::Candidate{found->rank, left, a.length + b.length, found->id};
  };
  const auto offer = [&](std::int32_t left) {
    if (const auto candidate = candidate_at(left)) {
      queue.push_back(*candidate);
      std::push_heap(queue.begin(), queue.end(), later);
    }
  };

  queue.clear();
  for (std::int32_t i = 0; i + 1 < static_cast<std::int32_t>(symbols.size()); ++i) {
    if (const auto candidate = candidate_at(i)) queue.push_back(*candidate);
  }
  std::make_heap(queue.begin(), queue.end(), later);
  while (!queue.empty()) {
    std::pop_heap(queue.begin(), queue.end(), later);
    const Scratch::Candidate best = queue.back();
    queue.pop_back();
    Scratch::Symbol& left = symbols[best.left];
    if (left.length == 0 || left.next < 0) continue;
    Scratch::Symbol& right = symbols[left.next];
    if (left.length + right.length != best.length) continue;
    left.id = best.id;
    left.length = best.length;
    left.next = right.next;
    right.length = 0;
    if (left.next >= 0) symbols[left.next].previous = best.left;
    if (left.previous >= 0) offer(left.previous);
    if (left.next >= 0) offer(best.left);
  }
}

}  // namespace tandem
