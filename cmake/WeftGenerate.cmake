# weft_generate(TARGET t PROTOS a.proto … [IMPORT_DIRS d …]): compiles contracts into a target.
#
#   find_package(weft REQUIRED)
#   add_executable(server main.c)
#   target_link_libraries(server PRIVATE weft::weft-core)
#   weft_generate(TARGET server PROTOS proto/user.proto IMPORT_DIRS proto)     # "user.weft.h", "user.pb-c.h"
#
# PROTOS       paths below one of the IMPORT_DIRS; relative ones count from the current source folder.
# IMPORT_DIRS  where imports are looked up, and from where the names of the generated headers count. Default: the folder
#              that each proto lies in.
#
# A proto that these import must be among the PROTOS of the same target or of a target that it links.
# google/protobuf/*.proto and google/rpc/*.proto are found by themselves, and libweft has them compiled.
function(weft_generate)
  cmake_parse_arguments(arg "" "TARGET" "PROTOS;IMPORT_DIRS" ${ARGN})
  if(NOT arg_TARGET OR NOT arg_PROTOS OR arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "usage: weft_generate(TARGET t PROTOS a.proto … [IMPORT_DIRS d …])")
  endif()
  find_program(WEFT_PROTOC protoc)
  find_program(WEFT_PROTOC_GEN_C protoc-gen-c)
  if(NOT WEFT_PROTOC OR NOT WEFT_PROTOC_GEN_C)
    message(FATAL_ERROR "weft_generate needs protoc and protoc-gen-c: apt-get install protobuf-compiler protobuf-c-compiler")
  endif()
  if(WEFT_PROTO_DIR)  # set by find_package(weft)
    set(shared ${WEFT_PROTO_DIR})
  else()
    set(shared ${weft_SOURCE_DIR}/proto)
  endif()

  set(out ${CMAKE_CURRENT_BINARY_DIR}/weft/${arg_TARGET})
  file(MAKE_DIRECTORY ${out})
  set(dirs "")
  foreach(dir IN LISTS arg_IMPORT_DIRS)
    cmake_path(ABSOLUTE_PATH dir NORMALIZE)
    list(APPEND dirs ${dir})
  endforeach()
  foreach(proto IN LISTS arg_PROTOS)
    cmake_path(ABSOLUTE_PATH proto NORMALIZE)
    cmake_path(GET proto PARENT_PATH own_dir)
    set(proto_dirs ${dirs})
    if(NOT proto_dirs)
      set(proto_dirs ${own_dir})
    endif()
    set(name "")
    set(imports "")
    foreach(dir IN LISTS proto_dirs)
      list(APPEND imports -I${dir})
      cmake_path(IS_PREFIX dir ${proto} is_below)
      if(is_below AND NOT name)
        cmake_path(RELATIVE_PATH proto BASE_DIRECTORY ${dir} OUTPUT_VARIABLE name)
      endif()
    endforeach()
    if(NOT name)
      message(FATAL_ERROR "weft_generate: ${proto} lies in none of the IMPORT_DIRS")
    endif()
    string(REGEX REPLACE "\\.proto$" "" stem ${name})
    set(outputs ${out}/${stem}.pb-c.c ${out}/${stem}.weft.c ${out}/${stem}.pb-c.h ${out}/${stem}.weft.h)
    cmake_path(GET stem PARENT_PATH folder)
    file(MAKE_DIRECTORY ${out}/${folder})
    add_custom_command(OUTPUT ${outputs}
      COMMAND ${WEFT_PROTOC} --plugin=protoc-gen-weft=$<TARGET_FILE:weft::protoc-gen-weft> ${imports} -I${shared}
              --weft_out=${out} --dependency_out=${out}/${stem}.d ${name}
      DEPENDS ${proto} weft::protoc-gen-weft
      DEPFILE ${out}/${stem}.d
      COMMENT "Generating ${stem}.weft.h and ${stem}.pb-c.h"
      VERBATIM)
    target_sources(${arg_TARGET} PRIVATE ${outputs})
  endforeach()
  target_include_directories(${arg_TARGET} BEFORE PUBLIC $<BUILD_INTERFACE:${out}>)
  # A library that links no Weft yet hands it on with its headers; one that does has its reasons (static, say).
  get_target_property(type ${arg_TARGET} TYPE)
  get_target_property(libraries ${arg_TARGET} LINK_LIBRARIES)
  if(NOT type STREQUAL "EXECUTABLE" AND NOT libraries MATCHES "weft")
    target_link_libraries(${arg_TARGET} PUBLIC weft::weft)
  endif()
endfunction()
