#pragma once
// Everything that generating needs, from one dictionary.

#include <memory>
#include <string_view>

#include "tandem/model.h"
#include "tandem/tokenizer.h"

namespace tandem::model_init {

/// What a Generator is made of.
struct Loaded {
  std::shared_ptr<Model> model;
  std::shared_ptr<Cache> cache;
  std::shared_ptr<const Tokenizer> tokenizer;
};

/// Loads what `dict`, the text of a JSON object, describes. Its keys, all optional but model_dir:
///   model_dir       text, as in ModelOptions
///   devices         list, one a rank: numbers (of GPUs) or texts ("cpu", "cpu:1")
///   tp_backend      text
///   max_batch_size  number
///   max_seq_len     number of tokens
///   cache           number of tokens in the cache, or true (the default): max_batch_size sequences of max_seq_len
///   shbuf_size      number of bytes
/// Throws kInvalidArgument for a key that is none of these, naming the nearest, and for a value of another type or out
/// of range; kBadFile for text that is no JSON; and what Model::load, Tokenizer::load and Cache throw.
Loaded init_from_dict(std::string_view dict);

}  // namespace tandem::model_init
