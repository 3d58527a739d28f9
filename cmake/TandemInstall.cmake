# `cmake --install` puts the program, the public headers, the component archives and a CMake package that offers
# tandem::tandem. tests/install builds a consumer of it.
include(CMakePackageConfigHelpers)
set(TANDEM_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/tandem)

# Everything but the command line. The executable has the name `tandem`, so here the library is tandem_api.
get_property(components GLOBAL PROPERTY TANDEM_LIBRARIES)
list(REMOVE_ITEM components tandem_cli)
add_library(tandem_api INTERFACE)
add_library(tandem::tandem ALIAS tandem_api)
set_target_properties(tandem_api PROPERTIES EXPORT_NAME tandem)
target_link_libraries(tandem_api INTERFACE ${components})

install(DIRECTORY include/tandem TYPE INCLUDE FILES_MATCHING PATTERN "*.h")
install(TARGETS tandem_api ${components} EXPORT tandem ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT tandem FILE tandemTargets.cmake NAMESPACE tandem:: DESTINATION ${TANDEM_PACKAGE_DIR})
write_basic_package_version_file(tandemConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES cmake/tandemConfig.cmake cmake/TandemDependencies.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/tandemConfigVersion.cmake DESTINATION ${TANDEM_PACKAGE_DIR})
