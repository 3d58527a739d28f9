# find_package(tandem): offers tandem::tandem. The third-party archives are found on this machine, not where it was built.
include(${CMAKE_CURRENT_LIST_DIR}/TandemDependencies.cmake)
find_package(CUDAToolkit QUIET)  # whose static runtime a build with CUDA links
include(${CMAKE_CURRENT_LIST_DIR}/tandemTargets.cmake)
