// `tandem explain CODE`: what a code means and what one can do, without a look at the machine.
#include "diagnose/doctor/explain.h"
#include "base/error.h"
#include "base/quote.h"
#include "base/suggest.h"
#include "cli/commands.h"
#include "cli/output.h"

namespace tandem::cli {

int explain_command(const ExplainOptions& options) {
  if (options.markdown) {
    write_stdout(code_list_markdown());
    return 0;
  }
  if (options.list) {
    write_stdout(options.json ? code_list_json() + "\n" : code_list_text());
    return 0;
  }
  if (options.code.empty()) {
    fail_with_hint(ErrorKind::kInvalidArgument, "explain what? There is no CODE", "tandem explain --list shows all");
  }
  const auto text = options.json ? explain_json(options.code) : explain_text(options.code);
  if (!text) {
    fail_with_hint(ErrorKind::kInvalidArgument, format("there is no code {}", quote(options.code)),
                   suggest(options.code, known_codes()));
  }
  write_stdout(options.json ? *text + "\n" : *text);
  return 0;
}

}  // namespace tandem::cli
