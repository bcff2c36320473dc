# What `cmake --install` puts where, under any prefix that may be moved afterwards:
#
#   lib/libweft*.so…          the libraries             lib/pkgconfig/weft*.pc      for pkg-config
#   include/weft/             the public headers        lib/cmake/weft/             for find_package(weft)
#   include/google/           the shared messages       share/weft/proto/           their contracts, and those of the builtin services
#   bin/                      protoc-gen-weft, weft, services    share/man/, share/…         weft's manual, completions
include(CMakePackageConfigHelpers)

set(WEFT_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/weft)
set(WEFT_PROTO_DIR ${CMAKE_INSTALL_DATADIR}/weft/proto)

# Libraries find each other beside themselves, programs find them by the way from bin/.
set(weft_installed_programs "")
foreach(program protoc-gen-weft weft-cli user-service)
  if(TARGET ${program})
    list(APPEND weft_installed_programs ${program})
  endif()
endforeach()
set_target_properties(weft weft-core weft-testing weft-consul weft-sqlite PROPERTIES INSTALL_RPATH "$ORIGIN")
file(RELATIVE_PATH _bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
if(weft_installed_programs)
  set_target_properties(${weft_installed_programs} PROPERTIES INSTALL_RPATH "$ORIGIN/${_bin_to_lib}")
endif()

install(TARGETS weft weft-core weft-testing weft-consul weft-sqlite ${weft_installed_programs} EXPORT weft-targets)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/framework/include/weft DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/gen/google DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN *.h)
install(DIRECTORY ${PROJECT_SOURCE_DIR}/proto/google ${PROJECT_SOURCE_DIR}/proto/grpc DESTINATION ${WEFT_PROTO_DIR})

# find_package(weft)
install(EXPORT weft-targets NAMESPACE weft:: DESTINATION ${WEFT_CMAKE_DIR})
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/weft-config.cmake.in ${CMAKE_BINARY_DIR}/package/weft-config.cmake
  INSTALL_DESTINATION ${WEFT_CMAKE_DIR} PATH_VARS WEFT_PROTO_DIR)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/package/weft-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/package/weft-config.cmake ${CMAKE_BINARY_DIR}/package/weft-config-version.cmake
  ${CMAKE_CURRENT_LIST_DIR}/WeftGenerate.cmake ${CMAKE_CURRENT_LIST_DIR}/WeftMigrations.cmake DESTINATION ${WEFT_CMAKE_DIR})

# pkg-config
file(RELATIVE_PATH WEFT_PC_TO_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
function(weft_pkg_config name description requires)
  set(WEFT_PC_NAME ${name})
  set(WEFT_PC_DESCRIPTION "${description}")
  set(WEFT_PC_REQUIRES "${requires}")
  set(WEFT_PC_REQUIRES_PRIVATE "${ARGN}")  # of static linking
  configure_file(${PROJECT_SOURCE_DIR}/cmake/weft.pc.in ${CMAKE_BINARY_DIR}/package/${name}.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/package/${name}.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
endfunction()
weft_pkg_config(weft "${PROJECT_DESCRIPTION}" "libprotobuf-c" "zlib libcares")
weft_pkg_config(weft-core "Weft's engine on gRPC core" "weft = ${PROJECT_VERSION}")
weft_pkg_config(weft-testing "Weft's engine for tests: in process, in virtual time" "weft = ${PROJECT_VERSION}")
weft_pkg_config(weft-sqlite "Weft's SQLite database for a service" "weft = ${PROJECT_VERSION} sqlite3")
weft_pkg_config(weft-consul "Weft's discovery and registration by Consul" "weft = ${PROJECT_VERSION}")
