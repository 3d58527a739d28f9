#pragma once
// A machine's /proc, /sys, /dev and /etc in a temporary folder, for tests.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace tandem {

class FakeRoot {
 public:
  FakeRoot();
  ~FakeRoot();
  FakeRoot(const FakeRoot&) = delete;
  FakeRoot& operator=(const FakeRoot&) = delete;

  const std::filesystem::path& path() const { return path_; }
  void write(std::string_view file, std::string_view text) const;
  void link(std::string_view file, std::string_view target) const;
  void remove(std::string_view file) const;

  /// Two GPUs, at 0000:10:00.0 and 0000:20:00.0, below one switch, in a container on a virtual machine of two sockets.
  void fill() const;
  /// Where fill() put a device of /sys/bus/pci/devices.
  static std::string pci_folder(std::string_view address);

 private:
  void add_pci(std::string_view address, std::string_view vendor, std::string_view type, std::string_view config) const;
  std::filesystem::path path_;
};

/// The configuration of a PCI Express device: `port_type` 4 is a root port, 5 and 6 a switch's, 0 an endpoint.
std::string pci_configuration(int port_type, int acs_control, std::size_t bytes = 4096);

}  // namespace tandem
