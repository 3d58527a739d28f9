#include "generate/text_stream.h"

#include <algorithm>
#include <utility>

namespace tandem {

std::string StopFilter::push(std::string_view text) {
  if (stopped_) return {};
  held_ += text;

  std::size_t stop_begin = 0;
  std::size_t stop_end = std::string::npos;
  for (const std::string& stop : stop_strings_) {
    const std::size_t begin = held_.find(stop);
    if (begin == std::string::npos) continue;
    const std::size_t end = begin + stop.size();
    if (end > stop_end || (end == stop_end && begin > stop_begin)) continue;
    stop_begin = begin;
    stop_end = end;
  }
  if (stop_end != std::string::npos) {
    stopped_ = true;
    held_.resize(stop_begin);
    return flush();
  }

  // Hold back the longest end of the text that is the start of a stop string.
  std::size_t undecided = 0;
  for (const std::string_view stop : stop_strings_) {
    for (std::size_t length = std::min(stop.size() - 1, held_.size()); length > undecided; --length) {
      if (held_.ends_with(stop.substr(0, length))) undecided = length;
    }
  }
  std::string certain = held_.substr(0, held_.size() - undecided);
  held_.erase(0, certain.size());
  return certain;
}

std::string StopFilter::flush() {
  return std::exchange(held_, {});
}

std::string TextStream::finish() {
  std::string text = filter_.push(decoder_.flush());
  return text += filter_.flush();
}

}  // namespace tandem
