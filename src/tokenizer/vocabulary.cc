#include "tokenizer/vocabulary.h"

#include <bit>
#include <functional>
#include <limits>

namespace tandem {

void Vocabulary::reserve(std::size_t count) {
  pieces_.reserve(count);
  used_.reserve(count);
  rehash(std::bit_ceil(2 * count + 2));
}

std::size_t Vocabulary::slot_of(std::string_view piece) const {
  std::size_t slot = std::hash<std::string_view>()(piece) & (slots_.size() - 1);
  while (slots_[slot] != kUnknown && this->piece(slots_[slot]) != piece) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void Vocabulary::rehash(std::size_t slots) {
  if (slots <= slots_.size()) return;
  slots_.assign(slots, kUnknown);
  for (std::int32_t id = 0; id < size(); ++id) {
    if (contains(id)) slots_[slot_of(piece(id))] = id;
  }
}

bool Vocabulary::add(std::string_view piece, std::int64_t id) {
  if (id < 0 || id >= std::numeric_limits<std::int32_t>::max() || contains(id)) return false;
  if (id >= 2 * (static_cast<std::int64_t>(count_) + 1) + kMaxUnused) return false;
  rehash(std::bit_ceil(2 * (count_ + 1)));
  const std::size_t slot = slot_of(piece);
  if (slots_[slot] != kUnknown) return false;
  if (id >= size()) {
    pieces_.resize(static_cast<std::size_t>(id) + 1);
    used_.resize(static_cast<std::size_t>(id) + 1);
  }
  pieces_[static_cast<std::size_t>(id)] = piece;
  used_[static_cast<std::size_t>(id)] = true;
  slots_[slot] = static_cast<std::int32_t>(id);
  ++count_;
  return true;
}

std::int32_t Vocabulary::find(std::string_view piece) const {
  return slots_.empty() ? kUnknown : slots_[slot_of(piece)];
}

}  // namespace tandem
