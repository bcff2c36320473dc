# Run by cpack between installing the components and packing them (WeftPackage.cmake). For each of them:
#
# - The RPATH goes: what lies in /usr finds its libraries without. `cmake --install` keeps it, so that its prefix can move.
# - Changelog and manual pages are compressed, as Debian has them.
# - Configuration lies in /etc, not below /usr.
# - Depends: gets the packages of the shared libraries that its files need. dpkg-shlibdeps stops at one that no package
#   has; debian/shlibs.local tells it those of this build.
find_program(WEFT_SHLIBDEPS dpkg-shlibdeps)
if(NOT WEFT_SHLIBDEPS)
  message(FATAL_ERROR "Debian packages need dpkg-shlibdeps: apt-get install dpkg-dev")
endif()

file(GLOB weft_libdirs ${CPACK_TEMPORARY_DIRECTORY}/*/usr/${CPACK_WEFT_LIBDIR})
list(TRANSFORM weft_libdirs PREPEND -l)
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  set(root ${CPACK_TEMPORARY_DIRECTORY}/${component})
  file(GLOB manual ${root}/usr/share/man/man*/*)
  execute_process(COMMAND gzip -9n ${root}/usr/share/doc/${component}/changelog ${manual} COMMAND_ERROR_IS_FATAL ANY)
  if(EXISTS ${root}/usr/etc)
    file(RENAME ${root}/usr/etc ${root}/etc)
  endif()
  file(GLOB_RECURSE files ${root}/usr/*)
  set(binaries "")
  foreach(file IN LISTS files)
    if(IS_SYMLINK ${file})  # the .so links lead nowhere here: their libraries are in other packages
      continue()
    endif()
    file(READ ${file} magic LIMIT 4 HEX)
    if(magic STREQUAL "7f454c46")
      file(RPATH_REMOVE FILE ${file})
      list(APPEND binaries ${file})
    endif()
  endforeach()
  if(binaries)
    file(MAKE_DIRECTORY ${root}/DEBIAN)  # dpkg-shlibdeps takes the folder above it for the package
    execute_process(COMMAND ${WEFT_SHLIBDEPS} -O ${weft_libdirs} ${binaries} WORKING_DIRECTORY ${CPACK_WEFT_DIR}
      OUTPUT_VARIABLE depends OUTPUT_STRIP_TRAILING_WHITESPACE COMMAND_ERROR_IS_FATAL ANY)
    file(REMOVE_RECURSE ${root}/DEBIAN)
    string(REPLACE "shlibs:Depends=" "" depends "${depends}")
    string(TOUPPER ${component} upper)
    list(APPEND CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS "${depends}")
    list(JOIN CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS ", " CPACK_DEBIAN_${upper}_PACKAGE_DEPENDS)
  endif()
endforeach()
