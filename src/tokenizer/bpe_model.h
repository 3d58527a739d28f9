#pragma once
// Byte-pair encoding of one word: its characters are merged, the pair of lowest rank first, the leftmost of equals.

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace tandem {

/// Which pairs of pieces merge into which, and how early. Pairs of ids to (rank, id): a flat table, because there are
/// up to half a million and every step of encoding looks one up.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;
  };
  void reserve(std::size_t count);
  /// A pair given twice keeps the last rank, as in the reference engine.
  void set(std::int32_t left, std::int32_t right, Merge merge);
  /// Null when the pair does not merge.
  const Merge* find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = kEmpty;
    Merge merge{};
  };
  static constexpr std::uint64_t kEmpty = ~std::uint64_t{0};  // no pair: ids are not negative
  std::size_t slot_of(std::uint64_t pair) const;

  std::vector<Slot> slots_;
  std::size_t count_ = 0;
};

/// The rules besides the merges; the names are those of tokenizer.json.
struct BpeRules {
  std::optional<std::int32_t> unk_id;  ///< stands for a character that is not in the vocabulary; without it, it is lost
  bool fuse_unk = false;               ///< one unk_id for a run of such characters
  bool byte_fallback = false;          ///< such a character becomes its bytes' pieces <0x00> to <0xFF>
  bool ignore_merges = false;          ///< a word that is a piece as a whole is not merged
};

class BpeModel {
 public:
  BpeModel() = default;
  BpeModel(const Vocabulary& vocabulary, MergeTable merges, BpeRules rules);

  /// Buffers of encode(), reused between words.
  struct Scratch;

  /// Appends the ids of `word` (valid UTF-8) to `ids`. `vocabulary` is the one given to the constructor.
  void encode(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch,
              std::vector<std::int32_t>& ids) const;

  bool ignore_merges() const { return rules_.ignore_merges; }

 private:
  void split_into_characters(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch) const;
  void merge(Scratch& scratch) const;

  MergeTable merges_;
  BpeRules rules_;
  std::array<std::int32_t, 256> byte_ids_{};  // of <0x00> to <0xFF>
};

struct BpeModel::Scratch {
  struct Symbol {
    std::int32_t id;
    std::int32_t length;  // symbols it was merged from; 0: merged into its left neighbour
    std::int32_t previous;
    std::int32_t next;  // -1 at the ends
  };
  struct Candidate {
    std::int32_t rank;
    std::int32_t left;    // index of the left symbol
    std::int32_t length;  // of both symbols together; another one now means the candidate is stale
    std::int32_t id;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> queue;
};

}  // namespace tandem
