# The target `libfuse`: the system's library, or the one that deploy/bundled-fuse.sh makes.
add_library(libfuse INTERFACE)
if(RILLFS_BUNDLED_FUSE)
  set(place ${PROJECT_BINARY_DIR}/libfuse)
  set(script ${PROJECT_SOURCE_DIR}/deploy/bundled-fuse.sh)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${script})
  message(STATUS "Making the bundled libfuse in ${place}")
  execute_process(COMMAND bash ${script} ${place} ${RILLFS_FUSE_TARBALL}
    RESULT_VARIABLE failed ERROR_VARIABLE reason ERROR_STRIP_TRAILING_WHITESPACE)
  if(failed)
    message(FATAL_ERROR "RILLFS_BUNDLED_FUSE is ON, but the bundled libfuse cannot be made:\n"
      "  ${reason}\n"
      "Configure with one of\n"
      "  -DRILLFS_FUSE_TARBALL=PATH    the tarball is there already (fuse3_*.orig.tar.gz of Debian's source package)\n"
      "  -DRILLFS_BUNDLED_FUSE=OFF     use the system's libfuse3")
  endif()
  target_include_directories(libfuse SYSTEM INTERFACE ${place}/usr/include/fuse3)
  target_link_libraries(libfuse INTERFACE ${place}/usr/lib/libfuse3.a Threads::Threads ${CMAKE_DL_LIBS})
  target_compile_definitions(libfuse INTERFACE RILLFS_BUNDLED_FUSE)
else()
  pkg_check_modules(FUSE REQUIRED IMPORTED_TARGET fuse3>=3.14)
  target_link_libraries(libfuse INTERFACE PkgConfig::FUSE)
endif()
