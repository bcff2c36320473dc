# How every C file of Weft is compiled: the language level, the warnings and the instrumentation.

set(CMAKE_C_STANDARD 11)
set(CMAKE_C_STANDARD_REQUIRED ON)
set(CMAKE_C_EXTENSIONS OFF)
set(CMAKE_C_VISIBILITY_PRESET hidden)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

add_library(weft_compile INTERFACE)
target_compile_definitions(weft_compile INTERFACE _POSIX_C_SOURCE=200809L)
target_compile_options(weft_compile INTERFACE
  $<$<COMPILE_LANGUAGE:C>:-Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wstrict-prototypes -Wvla>
  $<$<COMPILE_LANG_AND_ID:C,Clang>:-Wassign-enum>
  -fno-omit-frame-pointer)
if(WEFT_WERROR)
  target_compile_options(weft_compile INTERFACE -Werror)
endif()
if(WEFT_SANITIZE)
  list(JOIN WEFT_SANITIZE "," _sanitizers)
  add_compile_options(-fsanitize=${_sanitizers} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${_sanitizers})
endif()
if(WEFT_COVERAGE)
  add_compile_options(--coverage)
  add_link_options(--coverage)
endif()
if(WEFT_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link,address,undefined)
  add_link_options(-fsanitize=address,undefined)
endif()
