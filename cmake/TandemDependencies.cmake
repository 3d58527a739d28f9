# Third-party libraries, all from the distribution's packages, linked static or header-only (docs/decisions).
# Used by this build and, installed beside tandemConfig.cmake, by its consumers.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)

# Headers only, without the definition FMT_HEADER_ONLY: the body of fmt is compiled once, in src/base/log.cc.
foreach(name fmt spdlog)
  if(NOT TARGET dep::${name})
    add_library(dep::${name} INTERFACE IMPORTED GLOBAL)
  endif()
endforeach()
target_include_directories(dep::fmt SYSTEM INTERFACE
  $<TARGET_PROPERTY:fmt::fmt-header-only,INTERFACE_INCLUDE_DIRECTORIES>)
target_include_directories(dep::spdlog SYSTEM INTERFACE
  $<TARGET_PROPERTY:spdlog::spdlog_header_only,INTERFACE_INCLUDE_DIRECTORIES>)

# Archives by file name, or the linker takes the shared library.
function(tandem_static_dependency name pkg)
  if(TARGET dep::${name})
    return()
  endif()
  pkg_check_modules(${name} REQUIRED ${pkg})
  add_library(dep::${name} INTERFACE IMPORTED GLOBAL)
  target_include_directories(dep::${name} SYSTEM INTERFACE ${${name}_INCLUDE_DIRS})
  cmake_parse_arguments(arg "" "" "ARCHIVES;SUFFIXES" ${ARGN})
  foreach(archive IN LISTS arg_ARCHIVES)
    find_library(TANDEM_ARCHIVE_${archive} ${archive} REQUIRED PATH_SUFFIXES ${arg_SUFFIXES})
    mark_as_advanced(TANDEM_ARCHIVE_${archive})
    target_link_libraries(dep::${name} INTERFACE ${TANDEM_ARCHIVE_${archive}})
  endforeach()
endfunction()

tandem_static_dependency(pcre2 libpcre2-8 ARCHIVES libpcre2-8.a)
tandem_static_dependency(utf8proc libutf8proc ARCHIVES libutf8proc.a)
set_target_properties(dep::utf8proc PROPERTIES INTERFACE_COMPILE_DEFINITIONS UTF8PROC_STATIC)
# The plain name is an alternative that may be the pthread build, which fights our own threads.
tandem_static_dependency(openblas openblas ARCHIVES libopenblas.a SUFFIXES openblas-serial)
# Makes the serial build safe to call from several threads: src/kernels/matmul/openblas_lock.cc.
set_target_properties(dep::openblas PROPERTIES
  INTERFACE_LINK_OPTIONS
  "LINKER:--wrap=blas_memory_alloc,--wrap=blas_memory_free,--undefined=__wrap_blas_memory_alloc")
tandem_static_dependency(edit libedit ARCHIVES libedit.a libtinfo.a libbsd.a libmd.a)
