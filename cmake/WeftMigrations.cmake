# weft_migrations(TARGET t PREFIX user FILES migrations/0001_users.sql …) builds SQL files into a target.
#
# "user_migrations.h" declares user_migrations[] and user_migration_count, for weft_sqlite_options. Files are numbered 0001,
# 0002 … without a gap. This file is also the script that writes the C.

if(CMAKE_SCRIPT_MODE_FILE)
  set(arrays "")
  set(entries "")
  set(number 0)
  foreach(file ${FILES})
    math(EXPR number "${number} + 1")
    get_filename_component(name ${file} NAME)
    string(REGEX MATCH "^[0-9][0-9][0-9][0-9]_" prefix ${name})
    string(REGEX REPLACE "^0*([0-9]+)_$" "\\1" found "${prefix}")
    if(NOT found EQUAL number)
      message(FATAL_ERROR "${file}: expected migration number ${number}")
    endif()
    file(READ ${file} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1, " bytes "${bytes}")
    string(APPEND arrays "static const unsigned char sql_${number}[] = {${bytes}0};\n")
    string(APPEND entries "    {\"${name}\", (const char *)sql_${number}},\n")
  endforeach()
  set(origin "/* Made of SQL files by weft_migrations(). */\n")
  string(TOUPPER ${PREFIX} upper)
  file(WRITE ${OUT}.h "${origin}#ifndef ${upper}_MIGRATIONS_H
#define ${upper}_MIGRATIONS_H

#include <weft/sqlite.h>

extern const weft_sqlite_migration ${PREFIX}_migrations[];
extern const size_t ${PREFIX}_migration_count;

#endif
")
  file(WRITE ${OUT}.c "${origin}#include \"${PREFIX}_migrations.h\"

${arrays}
const weft_sqlite_migration ${PREFIX}_migrations[] = {
${entries}};
const size_t ${PREFIX}_migration_count = ${number};
")
  return()
endif()

function(weft_migrations)
  cmake_parse_arguments(arg "" "TARGET;PREFIX" "FILES" ${ARGN})
  list(TRANSFORM arg_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set(folder ${CMAKE_CURRENT_BINARY_DIR}/weft/${arg_TARGET}-migrations)
  file(MAKE_DIRECTORY ${folder})
  set(out ${folder}/${arg_PREFIX}_migrations)
  list(JOIN arg_FILES "$<SEMICOLON>" files)
  add_custom_command(OUTPUT ${out}.c ${out}.h
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DPREFIX=${arg_PREFIX} "-DFILES=${files}" -P ${CMAKE_CURRENT_FUNCTION_LIST_FILE}
    DEPENDS ${arg_FILES} ${CMAKE_CURRENT_FUNCTION_LIST_FILE} VERBATIM)
  target_sources(${arg_TARGET} PRIVATE ${out}.c ${out}.h)
  target_include_directories(${arg_TARGET} PUBLIC $<BUILD_INTERFACE:${folder}>)
endfunction()
