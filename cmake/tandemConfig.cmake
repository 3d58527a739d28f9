# find_package(tandem): offers tandem::tandem. The third-party archives are found on this machine, not where it was built.
include(${CMAKE_CURRENT_LIST_DIR}/TandemDependencies.cmake)
include(${CMAKE_CURRENT_LIST_DIR}/tandemTargets.cmake)
