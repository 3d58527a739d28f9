#pragma once
// Pieces back to text, one piece at a time. A decoder is a chain of steps as tokenizer.json lists them; decoding a
// whole text and decoding a stream are the same code.

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "tokenizer/pattern.h"
#include "tokenizer/utf8.h"

namespace tandem {

/// Characters stand for bytes (byte_level.h); a piece with others stands for itself. Joins the pieces.
struct ByteLevelDecode {};
/// Runs of pieces <0x00> to <0xFF> become their bytes; each byte of a run that is not UTF-8 becomes U+FFFD.
struct ByteFallbackDecode {};
/// Joins the pieces, so that the steps behind see one text.
struct FuseDecode {};
/// The decoder of a file that names none: pieces with a space between them.
struct JoinWithSpaces {};
struct ReplaceDecode {
  Pattern pattern;
  std::string content;
};
/// Removes up to `start` leading and `stop` trailing `character` of each piece.
struct StripDecode {
  std::string character;
  std::size_t start;
  std::size_t stop;
};
/// `replacement` becomes a space, or nothing in the first piece if a prefix was added when encoding.
struct MetaspaceDecode {
  std::string replacement;
  bool strip_first;
};

/// An immutable chain. Steps behind one that joins (ByteLevelDecode, FuseDecode, JoinWithSpaces) see one text that
/// arrives in portions: of them only a StripDecode with `stop` 0 can work on a stream; whoever builds the chain checks
/// it with can_follow_joined().
class Decoder {
 public:
  using Step = std::variant<ByteLevelDecode, ByteFallbackDecode, FuseDecode, JoinWithSpaces, ReplaceDecode, StripDecode,
                            MetaspaceDecode>;
  static bool joins(const Step& step);
  static bool can_follow_joined(const Step& step);

  Decoder() = default;
  explicit Decoder(std::vector<Step> steps) : steps_(std::move(steps)) {}

 private:
  friend class DecoderStream;
  std::vector<Step> steps_;
};

/// One text being decoded. `decoder` outlives it.
class DecoderStream {
 public:
  explicit DecoderStream(const Decoder& decoder) : decoder_(decoder), states_(decoder.steps_.size()) {}
  /// Appends to `out` what is certain after `piece`.
  void push(std::string_view piece, std::string& out) { push_to(0, piece, out); }
  /// Appends what was held back, and starts anew.
  void flush(std::string& out);

 private:
  struct StepState {
    bool started = false;          ///< a piece went through
    std::string bytes;             ///< of ByteFallbackDecode: the run so far
    Utf8Assembler assembler;       ///< of ByteLevelDecode
    std::size_t num_stripped = 0;  ///< of StripDecode on a joined text
    bool stripping = true;
  };
  void push_to(std::size_t step, std::string_view piece, std::string& out);
  void flush_bytes(std::size_t step, std::string& out);
  bool is_joined_before(std::size_t step) const;

  const Decoder& decoder_;
  std::vector<StepState> states_;
};

}  // namespace tandem
