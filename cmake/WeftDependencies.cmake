# The libraries Weft is built on, found by pkg-config. A missing one is named with the Debian package that has it.
find_package(Threads REQUIRED)
find_package(PkgConfig REQUIRED)

# weft_find(MODULE PACKAGE) makes PkgConfig::MODULE, or stops and says what to install. WeftPackage.cmake asks again.
function(weft_find module debian_package)
  set_property(GLOBAL PROPERTY WEFT_DEBIAN_PACKAGE_OF_${module} ${debian_package})
  if(NOT TARGET PkgConfig::${module})
    pkg_check_modules(${module} QUIET IMPORTED_TARGET GLOBAL ${module})
    if(NOT ${module}_FOUND)
      message(FATAL_ERROR "Weft needs ${module}: apt-get install ${debian_package}")
    endif()
  endif()
endfunction()

weft_find(libprotobuf-c libprotobuf-c-dev)
weft_find(zlib zlib1g-dev)
weft_find(grpc libgrpc-dev)
weft_find(gpr libgrpc-dev)
