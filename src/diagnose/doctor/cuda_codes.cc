#include "diagnose/doctor/cuda_codes.h"

namespace tandem {
namespace {

constexpr CudaCode kCodes[] = {
    {2, "cudaErrorMemoryAllocation", "a GPU, or pinned memory of the host, has no room for what was asked",
     "tandem check MODEL tells what a model needs, tandem doctor what other processes hold"},
    {35, "cudaErrorInsufficientDriver", "the driver is older than what the program was built with",
     "tandem explain driver-too-old tells how to get a newer one"},
    {46, "cudaErrorDevicesUnavailable", "the GPU is in a compute mode that lets no further process in",
     "nvidia-smi -q -d COMPUTE shows the mode; end the other process, or have the mode set back to Default"},
    {100, "cudaErrorNoDevice", "the process can use no GPU",
     "tandem doctor tells why: driver, device files, container, CUDA_VISIBLE_DEVICES"},
    {209, "cudaErrorNoKernelImageForDevice", "this build has no code for the GPU's architecture",
     "take a build that has it; the README lists the architectures"},
    {214, "cudaErrorECCUncorrectable", "the GPU's memory had an error that ECC could not correct",
     "nvidia-smi -q -d ECC counts them; a GPU that goes on having them has to be replaced"},
    {217, "cudaErrorPeerAccessUnsupported", "the driver gives this pair of GPUs no access to each other's memory",
     "tandem doctor --why-not p2p tells what stands in the way; nccl and native work without"},
    {220, "cudaErrorNvlinkUncorrectable", "a link of NVLink had an error that it could not correct",
     "nvidia-smi nvlink -e counts them; seat bridge and GPUs anew, and verify with tandem check"},
    {222, "cudaErrorUnsupportedPtxVersion", "the driver is too old for the program's intermediate code",
     "tandem explain driver-too-old tells how to get a newer one"},
    {700, "cudaErrorIllegalAddress", "a kernel touched memory that is not mapped on its GPU; the process has lost it",
     "tandem check tells whether a link changes data; if all links are well, please report it"},
    {702, "cudaErrorLaunchTimeout", "the system ended a kernel that ran long on a GPU that drives a display",
     "use GPUs without a display, or turn the display's watchdog off"},
    {704, "cudaErrorPeerAccessAlreadyEnabled",
     "peer access of a pair was asked for twice; it is there, and all is well",
     "Tandem maps buffers, not GPUs, so another library of the process asked: nothing is to be done"},
    {705, "cudaErrorPeerAccessNotEnabled", "peer access of a pair was given up, and nobody had asked for it",
     "Tandem maps buffers, not GPUs, so it is another library of the process: look there"},
    {711, "cudaErrorTooManyPeers", "a GPU cannot have one more peer: eight are the most that most GPUs can",
     "tandem explain peer-limit"},
    {712, "cudaErrorHostMemoryAlreadyRegistered", "memory of the host was pinned twice",
     "Tandem pins only what it allocates, so it is another library of the process: look there"},
    {719, "cudaErrorLaunchFailure", "a kernel failed, and the GPU tells no more; the process has lost it",
     "the kernel's log may have an Xid, which tandem doctor reads; compute-sanitizer finds the place"},
    {800, "cudaErrorNotPermitted", "the operation is not allowed to this process, as under MPS or while capturing",
     "end the control daemon of MPS, or give the process a GPU of its own"},
    {802, "cudaErrorSystemNotReady", "the GPUs' fabric is not up: NVSwitch machines need their fabric manager",
     "start nvidia-fabricmanager, in the driver's version; tandem explain fabric-manager"},
    {803, "cudaErrorSystemDriverMismatch", "the loaded kernel module and the driver's libraries differ in version",
     "tandem explain driver-library-mismatch"},
    {804, "cudaErrorCompatNotSupportedOnDevice", "the libraries of forward compatibility do not work with this GPU",
     "take CUDA's compat folder out of the loader's path, and install a newer driver instead"},
    {805, "cudaErrorMpsConnectionFailed", "the control daemon of MPS does not answer",
     "start it, or take CUDA_MPS_PIPE_DIRECTORY out of the environment"},
};

}  // namespace

std::span<const CudaCode> cuda_codes() {
  return kCodes;
}

}  // namespace tandem
