#include "diagnose/machine/gather_facts.h"

#include <unistd.h>

#include "diagnose/machine/collectors.h"

namespace tandem {
namespace {

Environment environment_of(const char* const* variables) {
  Environment environment;
  if (variables == nullptr) variables = environ;
  for (; variables != nullptr && *variables != nullptr; ++variables) {
    const std::string_view variable = *variables;
    const std::size_t equals = variable.find('=');
    if (equals != variable.npos) environment.emplace(variable.substr(0, equals), variable.substr(equals + 1));
  }
  return environment;
}

}  // namespace

MachineFacts gather_machine_facts(const FactSources& sources) {
  MachineFacts facts;
  const SystemFiles files(sources.root, facts.unread);
  collect_host(files, environment_of(sources.environment), facts.host);
  collect_driver(files, facts.driver);
  facts.pci = collect_pci(files);
  facts.xids = collect_xids(files);
  collect_libraries(files, facts.driver);
  collect_gpus(files, sources.nvml_file, facts);
  return facts;
}

}  // namespace tandem
