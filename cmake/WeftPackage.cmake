# `cpack` in a build folder, or `cmake --workflow --preset package`: one Debian package for each component that
# WeftInstall.cmake describes, for /usr. WeftPackageStage.cmake runs in between, on the files that go into them.
set(WEFT_PACKAGE_MAINTAINER "Weft maintainers <maintainers@weft.example>" CACHE STRING
  "Who answers for the Debian packages: set it when you give them to others")
set(WEFT_PACKAGE_HOMEPAGE "https://weft.example/" CACHE STRING "Where the Debian packages point to")

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_PACKAGE_CONTACT "${WEFT_PACKAGE_MAINTAINER}")
set(CPACK_PACKAGE_HOMEPAGE_URL "${WEFT_PACKAGE_HOMEPAGE}")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "")  # each package has its own
set(CPACK_COMPONENTS_ALL ${weft_packages})
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS
  OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_PRE_BUILD_SCRIPTS ${CMAKE_CURRENT_LIST_DIR}/WeftPackageStage.cmake)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)
set(CPACK_DEBIAN_PACKAGE_SOURCE weft)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_WEFT_LIBDIR ${CMAKE_INSTALL_LIBDIR})
set(CPACK_WEFT_DIR ${PROJECT_BINARY_DIR}/package)

# weft_wrap(OUT TEXT): the text in lines of at most 78 characters, as descriptions are written.
function(weft_wrap out text)
  string(REPLACE " " ";" words "${text}")
  set(wrapped "")
  set(line "")
  foreach(word IN LISTS words)
    string(LENGTH "${line} ${word}" length)
    if(length GREATER 78)
      string(APPEND wrapped "${line}\n")
      set(line ${word})
    else()
      string(JOIN " " line ${line} ${word})
    endif()
  endforeach()
  set(${out} "${wrapped}${line}" PARENT_SCOPE)
endfunction()

# What programs that are built elsewhere need of a library (shlibs): any version of the same minor, for the next minor may
# change the API. The packages of one build need each other (shlibs.local), for the engines call private functions of libweft.
math(EXPR weft_next_minor "${PROJECT_VERSION_MINOR} + 1")
set(weft_same_minor ">= ${PROJECT_VERSION}), @ (<< ${PROJECT_VERSION_MAJOR}.${weft_next_minor}~")
set(weft_own_shlibs "")
set(weft_dev_depends "")
string(TIMESTAMP weft_date "%a, %d %b %Y %H:%M:%S +0000" UTC)  # or what SOURCE_DATE_EPOCH says
file(WRITE ${CPACK_WEFT_DIR}/triggers "activate-noawait ldconfig\n")
file(WRITE ${CPACK_WEFT_DIR}/changelog "weft (${PROJECT_VERSION}) unstable; urgency=medium

  * CHANGELOG.md in Weft's source says what is new.

 -- ${WEFT_PACKAGE_MAINTAINER}  ${weft_date}
")
weft_wrap(weft_about "Weft is a gRPC microservice framework in plain C: typed stubs from contracts, a server runtime and client channels.")
foreach(package IN LISTS weft_packages)
  string(TOUPPER ${package} upper)
  weft_wrap(text "${weft_text_${package}}")
  set(CPACK_COMPONENT_${upper}_DESCRIPTION "${weft_synopsis_${package}}\n${text}\n\n${weft_about}")
  set(CPACK_DEBIAN_${upper}_PACKAGE_NAME ${package})
  set(CPACK_DEBIAN_${upper}_PACKAGE_SECTION ${weft_section_${package}})
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/copyright ${CPACK_WEFT_DIR}/changelog
    DESTINATION share/doc/${package} COMPONENT ${package} EXCLUDE_FROM_ALL)  # in packages only

  if(weft_section_${package} STREQUAL "libs")
    string(REGEX REPLACE "[0-9]+$" " ${PROJECT_VERSION_MAJOR} ${package}" shlibs ${package})
    string(REPLACE "@" ${package} same_minor "${weft_same_minor}")
    file(WRITE ${CPACK_WEFT_DIR}/${package}/shlibs "${shlibs} (${same_minor})\n")
    set(CPACK_DEBIAN_${upper}_PACKAGE_CONTROL_EXTRA ${CPACK_WEFT_DIR}/${package}/shlibs ${CPACK_WEFT_DIR}/triggers)
    string(APPEND weft_own_shlibs "${shlibs} (= ${PROJECT_VERSION})\n")
    list(APPEND weft_dev_depends "${package} (= ${PROJECT_VERSION})")
  endif()
endforeach()
if(weft_configs)  # dpkg leaves them alone once somebody has changed them
  set(conffiles "")
  foreach(config IN LISTS weft_configs)
    cmake_path(GET config FILENAME name)
    string(APPEND conffiles "/etc/weft/${name}\n")
  endforeach()
  file(WRITE ${CPACK_WEFT_DIR}/conffiles "${conffiles}")
  set(CPACK_DEBIAN_WEFT-SERVICES_PACKAGE_CONTROL_EXTRA ${CPACK_WEFT_DIR}/conffiles)
endif()
file(WRITE ${CPACK_WEFT_DIR}/debian/control "")
file(WRITE ${CPACK_WEFT_DIR}/debian/shlibs.local "${weft_own_shlibs}")

# What no binary tells: the packages of what our headers, pkg-config files, CMake package and contracts refer to, and of
# the programs that ours run.
foreach(module IN LISTS WEFT_PUBLIC_MODULES)
  get_property(package GLOBAL PROPERTY WEFT_DEBIAN_PACKAGE_OF_${module})
  list(APPEND weft_dev_depends ${package})
endforeach()
list(APPEND weft_dev_depends libprotobuf-dev pkgconf "weft-tools (= ${PROJECT_VERSION})")
list(JOIN weft_dev_depends ", " CPACK_DEBIAN_LIBWEFT-DEV_PACKAGE_DEPENDS)
set(CPACK_DEBIAN_WEFT-TOOLS_PACKAGE_DEPENDS "protobuf-compiler, protobuf-c-compiler")
set(CPACK_DEBIAN_WEFT-TOOLS_PACKAGE_RECOMMENDS  # google/protobuf/*.proto; what projects of `weft new` are built with
  "libprotobuf-dev, cmake, gcc | clang, libcmocka-dev, libweft-dev, ninja-build")
include(CPack)
