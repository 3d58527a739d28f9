#pragma once
// Pieces and their ids.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

/// A two-way table of pieces and ids. Filled once, then read from any thread.
class Vocabulary {
 public:
  static constexpr std::int32_t kUnknown = -1;

  /// Reserves room; `count` must come from data already in memory, not from a number in a file.
  void reserve(std::size_t count);
  /// Adds a piece. False when the id or the piece is taken, or the id would leave more ids unused than there are pieces
  /// and kMaxUnused: memory is spent by id, and a small file must not ask for much.
  bool add(std::string_view piece, std::int64_t id);
  static constexpr std::int64_t kMaxUnused = 65536;

  /// kUnknown when the piece is not there.
  std::int32_t find(std::string_view piece) const;
  bool contains(std::int64_t id) const { return id >= 0 && id < size() && used_[static_cast<std::size_t>(id)]; }
  /// The piece of an id that is contained.
  std::string_view piece(std::int32_t id) const { return pieces_[static_cast<std::size_t>(id)]; }
  /// One more than the highest id.
  std::int32_t size() const { return static_cast<std::int32_t>(pieces_.size()); }

 private:
  std::size_t slot_of(std::string_view piece) const;
  void rehash(std::size_t slots);

  std::vector<std::string> pieces_;  // by id
  std::vector<bool> used_;           // by id
  std::vector<std::int32_t> slots_;  // open addressing; a power of two, at most half full
  std::size_t count_ = 0;
};

}  // namespace tandem
