# weft_pack(TARGET t NAME templates ROOT d) builds the files below a folder into a target, as <name>[] and <name>_count
# of tools/weft/templates.h. The same file is the script that writes the C.

if(CMAKE_SCRIPT_MODE_FILE)
  set(arrays "")
  set(entries "")
  set(number 0)
  foreach(file ${FILES})
    math(EXPR number "${number} + 1")
    file(READ ${ROOT}/${file} bytes HEX)
    string(REGEX REPLACE "(..)" "0x\\1, " bytes "${bytes}")
    string(APPEND arrays "static const unsigned char file_${number}[] = {${bytes}0};\n")
    string(APPEND entries "    {\"${file}\", (const char *)file_${number}, sizeof file_${number} - 1},\n")
  endforeach()
  file(WRITE ${OUT} "/* Made from the files of a folder by WeftPack.cmake. */
#include \"templates.h\"

${arrays}
const template_file ${NAME}[] = {
${entries}};
const size_t ${NAME}_count = ${number};
")
  return()
endif()

set(WEFT_PACK_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(weft_pack)
  cmake_parse_arguments(arg "" "TARGET;NAME;ROOT" "" ${ARGN})
  file(GLOB_RECURSE files RELATIVE ${arg_ROOT} CONFIGURE_DEPENDS ${arg_ROOT}/*)
  list(TRANSFORM files PREPEND ${arg_ROOT}/ OUTPUT_VARIABLE paths)
  list(JOIN files "$<SEMICOLON>" list)
  set(out ${CMAKE_CURRENT_BINARY_DIR}/${arg_NAME}.c)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -DOUT=${out} -DNAME=${arg_NAME} -DROOT=${arg_ROOT} "-DFILES=${list}" -P ${WEFT_PACK_SCRIPT}
    DEPENDS ${paths} ${WEFT_PACK_SCRIPT} VERBATIM)
  target_sources(${arg_TARGET} PRIVATE ${out})
endfunction()
