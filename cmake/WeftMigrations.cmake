# weft_migrations(TARGET t PREFIX user FILES migrations/0001_users.sql …) builds SQL files into a target.
#
# It makes the C file that defines <prefix>_migrations[] and <prefix>_migration_count, which the service declares in its
# migrations.h. Files are numbered 0001, 0002 … without a gap. The same file is the script that writes the C.

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
  file(WRITE ${OUT} "/* Made from the SQL files in migrations/ by WeftMigrations.cmake. */
#include \"migrations.h\"

${arrays}
const struct migration ${PREFIX}_migrations[] = {
${entries}};
const size_t ${PREFIX}_migration_count = ${number};
")
  return()
endif()

set(WEFT_MIGRATIONS_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(weft_migrations)
  cmake_parse_arguments(arg "" "TARGET;PREFIX" "FILES" ${ARGN})
  list(TRANSFORM arg_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${arg_PREFIX}_migrations.c)
  list(JOIN arg_FILES "\;" files)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DPREFIX=${arg_PREFIX} "-DFILES=${files}" -P ${WEFT_MIGRATIONS_SCRIPT}
    DEPENDS ${arg_FILES} ${WEFT_MIGRATIONS_SCRIPT} VERBATIM)
  target_sources(${arg_TARGET} PRIVATE ${out})
endfunction()
