# What `cmake --install` puts where, under any prefix that may be moved afterwards:
#
#   lib/libweft*.so…          the libraries             lib/pkgconfig/weft*.pc      for pkg-config
#   include/weft/             the public headers        lib/cmake/weft/             for find_package(weft)
#   include/google/           the shared messages       share/weft/proto/           their contracts, and those of the builtin services
#   bin/                      protoc-gen-weft, weft, services   share/man/, share/…         weft's manual, completions
#   lib/systemd/system/       the services' units     etc/weft/                   their configuration
#
# Each file is of a component, which is named as the Debian package that it goes into (WeftPackage.cmake).
include(CMakePackageConfigHelpers)

set(WEFT_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
set(WEFT_PROTO_DIR ${CMAKE_INSTALL_DATADIR}/weft/proto)
set(WEFT_PUBLIC_MODULES libprotobuf-c)  # the pkg-config modules that our public headers include
file(RELATIVE_PATH WEFT_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
file(RELATIVE_PATH weft_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})

# weft_install_library(TARGET SYNOPSIS TEXT [MODULE…]): a library, its pkg-config file and its package lib<TARGET>0.
# SYNOPSIS is one line and TEXT a paragraph about it. MODULEs are the pkg-config modules that its public header includes.
macro(weft_install_library target synopsis text)
  set(weft_library_package lib${target}${PROJECT_VERSION_MAJOR})
  weft_package(${weft_library_package} libs "${synopsis}" "${text}")
  set_target_properties(${target} PROPERTIES INSTALL_RPATH "$ORIGIN")  # libraries find each other beside themselves
  install(TARGETS ${target} EXPORT weft-targets
    LIBRARY COMPONENT ${weft_library_package} NAMELINK_COMPONENT libweft-dev)

  list(APPEND WEFT_PUBLIC_MODULES ${ARGN})
  set(WEFT_PC_NAME ${target})
  set(WEFT_PC_DESCRIPTION "${synopsis}")
  if("${target}" STREQUAL "weft")
    string(JOIN ", " WEFT_PC_REQUIRES libprotobuf-c ${ARGN})
  else()
    string(JOIN ", " WEFT_PC_REQUIRES "weft = ${PROJECT_VERSION}" ${ARGN})
  endif()
  configure_file(${CMAKE_CURRENT_LIST_DIR}/weft.pc.in ${PROJECT_BINARY_DIR}/package/${target}.pc @ONLY)
  install(FILES ${PROJECT_BINARY_DIR}/package/${target}.pc
    DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig COMPONENT libweft-dev)
endmacro()

# weft_install_programs(PACKAGE TARGET…): those of the programs that are built.
function(weft_install_programs package)
  foreach(program IN LISTS ARGN)
    if(TARGET ${program})
      set_target_properties(${program} PROPERTIES INSTALL_RPATH "$ORIGIN/${weft_bin_to_lib}")
      install(TARGETS ${program} RUNTIME COMPONENT ${package})
    endif()
  endforeach()
endfunction()

# weft_package(PACKAGE SECTION SYNOPSIS TEXT): what Debian shows of a package.
set(weft_packages "")
macro(weft_package package section synopsis text)
  list(APPEND weft_packages ${package})
  set(weft_section_${package} ${section})
  set(weft_synopsis_${package} "${synopsis}")
  set(weft_text_${package} "${text}")
endmacro()

# The libraries: one line for each.
weft_install_library(weft "gRPC microservice framework in plain C"
  "The framework without an engine: servers, channels, streams, discovery, balancing, retries, health, TLS, configuration.")
weft_install_library(weft-core "Weft's engine on gRPC core"
  "The engine that carries Weft's calls over HTTP/2 by gRPC core, which is written in C++.")
weft_install_library(weft-testing "Weft's engine for tests: in process, in virtual time"
  "The engine that carries Weft's calls within one process, with a clock that the test moves, and with faults on demand.")
weft_install_library(weft-consul "Weft's discovery and registration by Consul"
  "Finds the instances of a service in Consul, and keeps those of a program registered there.")
weft_install_library(weft-sqlite "Weft's SQLite database for a service"
  "One connection that writes and many that read, cached statements, migrations, and word of changes." sqlite3)

# What developers need beside them.
weft_package(libweft-dev libdevel "gRPC microservice framework in plain C (development files)"
  "Headers, pkg-config files, a CMake package, and the contracts of the messages that Weft shares with other gRPC programs.")
install(DIRECTORY ${PROJECT_SOURCE_DIR}/framework/include/weft
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libweft-dev)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/gen/google
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT libweft-dev FILES_MATCHING PATTERN *.h)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/google ${PROJECT_SOURCE_DIR}/proto/grpc
  DESTINATION ${WEFT_PROTO_DIR} COMPONENT libweft-dev)

# find_package(weft)
install(EXPORT weft-targets NAMESPACE weft:: DESTINATION ${WEFT_CMAKE_DIR} COMPONENT libweft-dev)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/weft-config.cmake.in ${PROJECT_BINARY_DIR}/package/weft-config.cmake
  INSTALL_DESTINATION ${WEFT_CMAKE_DIR} PATH_VARS WEFT_PROTO_DIR)
write_basic_package_version_file(${PROJECT_BINARY_DIR}/package/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/package/weft-config.cmake ${PROJECT_BINARY_DIR}/package/weft-config-version.cmake
  ${CMAKE_CURRENT_LIST_DIR}/WeftGenerate.cmake ${CMAKE_CURRENT_LIST_DIR}/WeftMigrations.cmake
  DESTINATION ${WEFT_CMAKE_DIR} COMPONENT libweft-dev)

# The tools. find_package(weft) knows the plugin, so libweft-dev comes with this package.
weft_package(weft-tools devel "gRPC microservice framework in plain C (tools)"
  "The plugin of protoc that makes typed C stubs and handlers from contracts; and weft, which makes and runs services.")
install(TARGETS protoc-gen-weft EXPORT weft-targets RUNTIME COMPONENT weft-tools)
weft_install_programs(weft-tools weft-cli)

# The services, and how systemd runs them.
if(WEFT_BUILD_SERVICES)
  weft_package(weft-services net "gRPC microservices written with Weft"
    "The user service and the order service, which keep users and orders in SQLite.")
  weft_install_programs(weft-services user-service order-service)
  set(units ${PROJECT_SOURCE_DIR}/deploy/systemd)
  file(GLOB weft_units CONFIGURE_DEPENDS ${units}/*.service ${units}/*.socket)
  install(FILES ${weft_units} DESTINATION lib/systemd/system COMPONENT weft-services)
  file(GLOB weft_configs CONFIGURE_DEPENDS ${units}/*.yaml)
  install(FILES ${weft_configs} DESTINATION etc/weft COMPONENT weft-services)
endif()

if(PROJECT_IS_TOP_LEVEL)
  include(WeftPackage)
endif()
