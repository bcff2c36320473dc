# weft_add_test(NAME base.arena SOURCES arena_test.c [LIBS …] [LABELS …]) adds one cmocka program to ctest.
#
# The test links the static libraries, so that it may call internal functions, and finds internal headers as
# "base/arena.h". Labels say where a test does not run:
#
#   long         only with scripts/test.sh --long
#   core         it runs gRPC core: not under ThreadSanitizer, which cannot see into Debian's build of it
#   no_valgrind  too slow, or of no use, under valgrind; every other test runs there a second time, those with the label
#                core, but for seam.core, only with --long
weft_find(cmocka libcmocka-dev)
enable_testing()
find_program(WEFT_VALGRIND valgrind)
mark_as_advanced(WEFT_VALGRIND)

function(weft_add_test)
  cmake_parse_arguments(arg "" "NAME;TIMEOUT" "SOURCES;LIBS;LABELS" ${ARGN})
  string(REPLACE "." "_" target "test_${arg_NAME}")
  add_executable(${target} ${arg_SOURCES})
  set_target_properties(${target} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
  target_link_libraries(${target} PRIVATE ${arg_LIBS} weft_internal weft_compile PkgConfig::cmocka)
  target_include_directories(${target} PRIVATE ${PROJECT_SOURCE_DIR}/tests)
  add_test(NAME ${arg_NAME} COMMAND ${target})
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 120)
  endif()
  set_tests_properties(${arg_NAME} PROPERTIES TIMEOUT ${arg_TIMEOUT} LABELS "${arg_LABELS}")
  set(instrumented "${WEFT_SANITIZE}${WEFT_COVERAGE}${WEFT_FUZZ}")
  if(WEFT_VALGRIND AND instrumented MATCHES "^(OFF)*$" AND NOT arg_LABELS MATCHES "long|no_valgrind")
    add_test(NAME valgrind.${arg_NAME} COMMAND ${WEFT_VALGRIND} -q --error-exitcode=99 --leak-check=full
      --show-leak-kinds=definite --errors-for-leak-kinds=definite --fair-sched=yes $<TARGET_FILE:${target}>)
    math(EXPR timeout "${arg_TIMEOUT} * 5")
    # On gRPC core most of the time goes into gRPC core; the sanitizers look at our part of those tests each time.
    if(arg_LABELS MATCHES "core" AND NOT arg_NAME STREQUAL "seam.core")
      set(long long)
    endif()
    set_tests_properties(valgrind.${arg_NAME} PROPERTIES TIMEOUT ${timeout} LABELS "valgrind;${long}")
  endif()
endfunction()
