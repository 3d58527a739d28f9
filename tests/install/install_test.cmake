# Installs the build into WORK_DIR, moves the result (a package must not know where it was installed first), builds
# CONSUMER_DIR against it and runs the consumer on MODEL: it prints the library's version and an answer.
function(step name)
  execute_process(COMMAND ${ARGN} RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "${name} failed (${status}):\n${output}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

file(REMOVE_RECURSE ${WORK_DIR})
step("install" ${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/first)
file(RENAME ${WORK_DIR}/first ${WORK_DIR}/prefix)
step("configuring the consumer" ${CMAKE_COMMAND} -G Ninja -S ${CONSUMER_DIR} -B ${WORK_DIR}/consumer
  -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix -D CMAKE_CXX_COMPILER=${CXX} -D CMAKE_BUILD_TYPE=Release)
step("building the consumer" ${CMAKE_COMMAND} --build ${WORK_DIR}/consumer)
step("the consumer" ${WORK_DIR}/consumer/consumer ${MODEL})
if(NOT output MATCHES "tandem ${VERSION}\nanswer: .")
  message(FATAL_ERROR "the consumer should print version ${VERSION} and an answer, but printed:\n${output}")
endif()

if(EXISTS ${WORK_DIR}/prefix/bin/tandem)
  step("bin/tandem --version" ${WORK_DIR}/prefix/bin/tandem --version)
  if(NOT output MATCHES "${VERSION}")
    message(FATAL_ERROR "bin/tandem --version should name ${VERSION}, but printed:\n${output}")
  endif()
endif()
file(REMOVE_RECURSE ${WORK_DIR})
