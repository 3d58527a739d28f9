#include "tokenizer/decoder.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "tokenizer/byte_level.h"

namespace tandem {
namespace {

std::optional<char> byte_of_piece(std::string_view piece) {
  if (piece.size() != 6 || !piece.starts_with("<0x") || piece.back() != '>') return std::nullopt;
  unsigned char byte = 0;
  const auto [end, error] = std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16);
  if (error != std::errc() || end != piece.data() + 5) return std::nullopt;
  return static_cast<char>(byte);
}

/// Without up to `limit` leading `character`.
std::string_view strip_start(std::string_view text, std::string_view character, std::size_t limit) {
  for (; limit > 0 && text.starts_with(character); --limit) text.remove_prefix(character.size());
  return text;
}

std::string_view strip_end(std::string_view text, std::string_view character, std::size_t limit) {
  for (; limit > 0 && text.ends_with(character); --limit) text.remove_suffix(character.size());
  return text;
}

template <class... F>
struct Overloaded : F... {
  using F::operator()...;
};

}  // namespace

bool Decoder::joins(const Step& step) {
  return std::holds_alternative<ByteLevelDecode>(step) || std::holds_alternative<FuseDecode>(step) ||
         std::holds_alternative<JoinWithSpaces>(step);
}

bool Decoder::can_follow_joined(const Step& step) {
  const auto* strip = std::get_if<StripDecode>(&step);
  return std::holds_alternative<FuseDecode>(step) || (strip && strip->stop == 0);
}

bool DecoderStream::is_joined_before(std::size_t step) const {
  return std::any_of(decoder_.steps_.begin(), decoder_.steps_.begin() + static_cast<std::ptrdiff_t>(step),
                     Decoder::joins);
}

void DecoderStream::push_to(std::size_t index, std::string_view piece, std::string& out) {
  if (index == decoder_.steps_.size()) {
    out += piece;
    return;
  }
  StepState& state = states_[index];
  const bool is_first = !state.started;
  state.started = true;
  const auto next = [&](std::string_view text) { push_to(index + 1, text, out); };
  std::visit(Overloaded{
                 [&](const ByteLevelDecode&) {
                   std::string text;
                   if (const auto bytes = characters_to_bytes(piece)) {
                     state.assembler.push(*bytes, text);
                   } else {
                     state.assembler.push(piece, text);
                   }
                   if (!text.empty()) next(text);
                 },
                 [&](const ByteFallbackDecode&) {
                   if (const auto byte = byte_of_piece(piece)) {
                     state.bytes += *byte;
                   } else {
                     flush_bytes(index, out);
                     next(piece);
                   }
                 },
                 [&](const FuseDecode&) { next(piece); },
                 [&](const JoinWithSpaces&) { next(is_first ? std::string(piece) : " " + std::string(piece)); },
                 [&](const ReplaceDecode& step) { next(step.pattern.replace_all(piece, step.content)); },
                 [&](const StripDecode& step) {
                   if (!is_joined_before(index)) {
                     next(strip_end(strip_start(piece, step.character, step.start), step.character, step.stop));
                     return;
                   }
                   if (!state.stripping) return next(piece);
                   const std::string_view rest = strip_start(piece, step.character, step.start - state.num_stripped);
                   state.num_stripped += (piece.size() - rest.size()) / step.character.size();
                   state.stripping = rest.empty() && state.num_stripped < step.start;
                   next(rest);
                 },
                 [&](const MetaspaceDecode& step) {
                   const bool strip = is_first && step.strip_first;
                   next(Pattern(step.replacement).replace_all(piece, strip ? "" : " "));
                 },
             },
             decoder_.steps_[index]);
}

void DecoderStream::flush_bytes(std::size_t index, std::string& out) {
  const std::string bytes = std::exchange(states_[index].bytes, {});
  if (bytes.empty()) return;
  if (!find_invalid_utf8(bytes)) return push_to(index + 1, bytes, out);
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); ++i) text += kReplacementCharacter;
  push_to(index + 1, text, out);
}

void DecoderStream::flush(std::string& out) {
  for (std::size_t index = 0; index < states_.size(); ++index) {
    flush_bytes(index, out);
    std::string text;
    states_[index].assembler.flush(text);
    if (!text.empty()) push_to(index + 1, text, out);
  }
  states_.assign(states_.size(), {});
}

}  // namespace tandem
