// Xid messages: "NVRM: Xid (PCI:0000:17:00): 79, pid=..., GPU has fallen off the bus."
#include <map>
#include <utility>

#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

constexpr std::size_t kMostOfLog = 16 << 20;

std::vector<XidEvent> xids_of(std::string_view log) {
  std::map<std::pair<std::string, int>, int> times;
  constexpr std::string_view kBegin = "NVRM: Xid (";
  for (std::size_t at = log.find(kBegin); at != log.npos; at = log.find(kBegin)) {
    log.remove_prefix(at + kBegin.size());
    const std::string_view line = log.substr(0, log.find('\n'));
    const std::size_t end = line.find("): ");
    if (end == line.npos) continue;
    std::string_view address = line.substr(0, end), code = line.substr(end + 3);
    if (address.starts_with("PCI:")) address.remove_prefix(4);
    code = code.substr(0, code.find_first_not_of("0123456789"));
    const auto value = number<int>(code);
    if (!value || address.size() > 16 || address.find_first_not_of("0123456789abcdefABCDEF:.") != address.npos)
      continue;
    std::string place(address);
    if (place.find('.') == place.npos) place += ".0";
    if (times.size() < kMaxListedFacts || times.contains({place, *value})) ++times[{place, *value}];
  }
  std::vector<XidEvent> found;
  for (const auto& [event, count] : times) {
    found.push_back({.pci_address = event.first, .code = event.second, .times = count});
  }
  return found;
}

}  // namespace

// The kernel's own buffer tells of this boot; logs on disk may tell of earlier ones.
std::optional<std::vector<XidEvent>> collect_xids(const SystemFiles& files) {
  if (const auto log = files.need("/dev/kmsg", kMostOfLog)) return xids_of(*log);
  for (const char* path : {"/var/log/dmesg", "/var/log/kern.log"}) {
    if (!files.exists(path)) continue;
    if (const auto log = files.read_end(path, kMostOfLog)) return xids_of(*log);
  }
  return std::nullopt;
}

}  // namespace tandem
