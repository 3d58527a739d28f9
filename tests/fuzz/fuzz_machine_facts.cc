// libFuzzer target: a machine snapshot. Findings: anything but an Error; facts that are others when they were written
// and read again; redacted facts that redaction changes again, or that cannot be written and read.

#include <cstddef>
#include <cstdint>
#include <cstdlib>

#include "diagnose/machine/facts_json.h"
#include "tandem/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace tandem;
  MachineFacts facts;
  try {
    facts = parse_machine_facts({reinterpret_cast<const char*>(data), size}, "fuzz.json");
  } catch (const Error& error) {
    if (error.kind() == ErrorKind::kInternal) std::abort();
    return 0;
  }
  if (parse_machine_facts(machine_facts_json(facts), "written") != facts) std::abort();
  const MachineFacts clean = redacted(facts);
  if (redacted(clean) != clean) std::abort();
  parse_machine_facts(machine_facts_json(clean), "redacted");
  return 0;
}
