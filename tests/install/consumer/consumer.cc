// consumer MODEL: prints the library's version, then the model's answer over two ranks.
#include <cstdio>
#include <string>

#include "tandem/chat.h"
#include "tandem/error.h"
#include "tandem/generator.h"
#include "tandem/model.h"
#include "tandem/model_init.h"
#include "tandem/tokenizer.h"
#include "tandem/version.h"

int main(int argc, char** argv) try {
  if (argc != 2) return 2;
  const std::string folder = argv[1];
  std::printf("tandem %.*s\n", static_cast<int>(tandem::version().size()), tandem::version().data());

  const auto tokenizer = tandem::Tokenizer::load(folder);
  const auto model = tandem::Model::load({.model_dir = folder, .tp_size = 2, .max_batch_size = 2, .max_seq_len = 256});
  const auto cache = std::make_shared<tandem::Cache>(model);
  tandem::Generator generator(model, cache, tokenizer);
  generator.enqueue(
      {.input_ids = tokenizer->encode("Hello"), .max_new_tokens = 8, .temperature = 0, .ignore_eos = true});
  // Long enough for the matrix products that OpenBLAS computes.
  generator.enqueue({.input_ids = tokenizer->encode(apply_chat_template(*tokenizer, {{"user", "Hello"}})),
                     .max_new_tokens = 8,
                     .temperature = 0,
                     .ignore_eos = true});
  std::string streamed;
  int finished = 0;
  while (generator.num_remaining_jobs() > 0) {
    for (const tandem::Result& result : generator.iterate()) {
      if (result.serial == 1) streamed += result.text;
      if (!result.eos) continue;
      ++finished;
      if (result.new_tokens != 8) return 1;
      if (result.serial == 1 && streamed != result.full_text) return 1;
    }
  }
  std::printf("answer: %s\n", streamed.c_str());
  generator.close();
  model->unload();
  if (finished != 2) return 1;

  const auto loaded = tandem::model_init::init_from_dict(R"({"model_dir": ")" + folder + R"(", "cache": 256})");
  if (loaded.cache->max_num_tokens() != 256) return 1;
  try {
    tandem::Model::load({.model_dir = folder + "/missing"});
  } catch (const tandem::Error& error) {
    return to_string(error.kind()) == "not-found" ? 0 : 1;
  }
  return 1;
} catch (const tandem::Error& error) {
  std::fprintf(stderr, "error: %s\nhint: %s\n", error.what(), error.hint().c_str());
  return 1;
}
