#include "base/json.h"

#include <set>
#include <string>
#include <vector>

#include "base/error.h"
#include "base/mapped_file.h"

namespace tandem {
namespace {

constexpr int kMaxDepth = 256;

}  // namespace

Json parse_json(std::string_view text, std::string_view origin) {
  std::vector<std::set<std::string>> keys;  // of the objects that are open
  const auto check = [&](int depth, Json::parse_event_t event, Json& parsed) {
    if (depth > kMaxDepth) fail(ErrorKind::kBadFile, "{}: JSON is nested deeper than {} levels", origin, kMaxDepth);
    if (event == Json::parse_event_t::object_start) keys.emplace_back();
    if (event == Json::parse_event_t::object_end) keys.pop_back();
    if (event == Json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second) {
      fail(ErrorKind::kBadFile, "{}: JSON has the key {} twice in one object", origin, parsed.dump());
    }
    return true;
  };
  try {
    return Json::parse(text.begin(), text.end(), check);
  } catch (const Json::out_of_range& error) {  // a number such as 1e999; the parser does not say where
    fail(ErrorKind::kBadFile, "{}: broken JSON: {}", origin, error.what());
  } catch (const Json::parse_error& error) {
    fail(ErrorKind::kBadFile, "{}: broken JSON at byte {}: {}", origin, error.byte, error.what());
  }
}

Json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_json({reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()}, path.string());
}

std::string json_text(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string json_ascii(const Json& json, int indent) {
  return json.dump(indent, ' ', /*ensure_ascii=*/true, Json::error_handler_t::replace);
}

}  // namespace tandem
