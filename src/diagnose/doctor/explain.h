#pragma once
// Every code that Tandem prints, in full, without a machine to look at.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tandem {

/// Codes of findings, of reasons for which a back-end is refused, of outcomes of a probe, of errors, and CUDA's names
/// of its own; those are known by their numbers too.
std::vector<std::string_view> known_codes();

/// nullopt: there is no such code.
std::optional<std::string> explain_text(std::string_view code);
std::optional<std::string> explain_json(std::string_view code);

/// Every code with its title, a line each; as JSON an array.
std::string code_list_text();
std::string code_list_json();
/// docs/reference/findings.md
std::string code_list_markdown();

}  // namespace tandem
