#pragma once
// The text of an answer as it grows: ids decoded one at a time, cut at the first stop string.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tandem/tokenizer.h"

namespace tandem {

/// Passes text on up to the first stop string. Text that may become part of one is held back until it is decided.
/// What comes out does not depend on how the text is cut into push() calls: the stop string that is complete first
/// wins, of several complete at the same character the longest.
class StopFilter {
 public:
  /// The stop strings are not empty. Whole characters in (text and stop strings) are whole characters out.
  explicit StopFilter(std::vector<std::string> stop_strings) : stop_strings_(std::move(stop_strings)) {}

  /// The text that is now certain. Empty once a stop string was found.
  std::string push(std::string_view text);
  /// What was held back: at the end of the text no stop string can come of it.
  std::string flush();
  bool stopped() const { return stopped_; }

 private:
  std::vector<std::string> stop_strings_;
  std::string held_;  // shorter than the longest stop string
  bool stopped_ = false;
};

/// One answer. One thread at a time.
class TextStream {
 public:
  TextStream(std::shared_ptr<const Tokenizer> tokenizer, DecodeOptions options, std::vector<std::string> stop_strings)
      : decoder_(std::move(tokenizer), options), filter_(std::move(stop_strings)) {}

  /// The text that is certain after this id: whole characters, no part of a stop string.
  std::string push(std::int32_t id) { return filter_.push(decoder_.push(id)); }
  /// The rest of the text, an incomplete character as U+FFFD.
  std::string finish();
  /// A stop string was found; the text has ended before it.
  bool stopped() const { return filter_.stopped(); }

 private:
  StreamDecoder decoder_;
  StopFilter filter_;
};

}  // namespace tandem
