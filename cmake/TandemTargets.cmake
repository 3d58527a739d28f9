# tandem_library(NAME SOURCES ... [DEPS ...] [PRIVATE_DEPS ...]): one folder of src/ is one static library `tandem_NAME`.
# tandem_program(NAME SOURCES ... [DEPS ...]): one installed program that needs no shared library but libc and libm.
# tandem_test(NAME SOURCES ... [DEPS ...] [LABELS ...] [ARGS ...]): one GoogleTest program, one CTest test `NAME`.
find_program(CCACHE ccache)
mark_as_advanced(CCACHE)
if(CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_C_COMPILER_LAUNCHER ${CCACHE})
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()

add_library(tandem_options INTERFACE)
target_compile_features(tandem_options INTERFACE cxx_std_20)
# Warnings are ours alone: consumers of the installed package do not get them. They are errors with GCC, which the
# project is built with; Clang builds the fuzzers only.
target_compile_options(tandem_options INTERFACE
  $<BUILD_INTERFACE:$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-Wnon-virtual-dtor;-Wno-missing-field-initializers>>
  $<BUILD_INTERFACE:$<$<COMPILE_LANG_AND_ID:CXX,GNU>:-Werror>>)
target_include_directories(tandem_options INTERFACE
  $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/src> $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
  $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
if(TANDEM_SANITIZER)
  # -g1 keeps the lines of a stack trace and spares compile time.
  target_compile_options(tandem_options INTERFACE
    -fsanitize=${TANDEM_SANITIZER} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1 -g1)
  target_link_options(tandem_options INTERFACE -fsanitize=${TANDEM_SANITIZER})
endif()
set_property(GLOBAL PROPERTY TANDEM_LIBRARIES tandem_options)

# Emulated, kernels are C++ like all else, but for what a GPU's compiler is told.
function(tandem_emulate_kernels)
  foreach(source IN LISTS ARGN)
    if(TANDEM_CUDA_EMULATED AND source MATCHES "\\.cu$")
      set_source_files_properties(${source} PROPERTIES LANGUAGE CXX
        COMPILE_OPTIONS "-include;cuda_runtime.h;-Wno-unknown-pragmas;-Wno-unused-parameter;-Wno-strict-aliasing;-Wno-maybe-uninitialized")
    endif()
  endforeach()
endfunction()

function(tandem_library name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  set(target tandem_${name})
  tandem_emulate_kernels(${arg_SOURCES})
  add_library(${target} STATIC ${arg_SOURCES})
  target_link_libraries(${target} PUBLIC tandem_options ${arg_DEPS} PRIVATE ${arg_PRIVATE_DEPS})
  set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE ON)
  set_property(GLOBAL APPEND PROPERTY TANDEM_LIBRARIES ${target})
endfunction()

function(tandem_program name)
  cmake_parse_arguments(arg "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE tandem_options ${arg_DEPS})
  if(NOT TANDEM_SANITIZER)
    target_link_options(${name} PRIVATE -static-libstdc++ -static-libgcc)
  endif()
  install(TARGETS ${name} RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  set_property(GLOBAL APPEND PROPERTY TANDEM_PROGRAMS ${name})
endfunction()

if(TANDEM_TESTS)
  find_package(GTest REQUIRED)
endif()

function(tandem_test name)
  if(NOT TANDEM_TESTS)
    return()
  endif()
  cmake_parse_arguments(arg "" "TIMEOUT" "SOURCES;DEPS;LABELS;ARGS" ${ARGN})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 300)
  endif()
  add_executable(${name} ${arg_SOURCES})
  target_link_libraries(${name} PRIVATE tandem_options ${arg_DEPS} GTest::gmock GTest::gtest GTest::gtest_main)
  # Half the compile time of -O2 -g; what is tested is optimised all the same.
  target_compile_options(${name} PRIVATE -O1 -g1)
  target_compile_definitions(${name} PRIVATE TANDEM_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name} ${arg_ARGS})
  set_tests_properties(${name} PROPERTIES LABELS "${arg_LABELS}" TIMEOUT ${arg_TIMEOUT})
endfunction()
