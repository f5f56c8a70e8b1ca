# The installed CMake package: find_package(TACQ) gives TACQ::Runtime, the runtime's library and its
# headers. It needs neither LLVM nor anything else of the build.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(TACQ_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/TACQ)
install(EXPORT TACQTargets NAMESPACE TACQ:: DESTINATION ${TACQ_PACKAGE_DIR} COMPONENT runtime)
configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/TACQConfig.cmake.in
  ${PROJECT_BINARY_DIR}/TACQConfig.cmake INSTALL_DESTINATION ${TACQ_PACKAGE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/TACQConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/TACQConfig.cmake ${PROJECT_BINARY_DIR}/TACQConfigVersion.cmake
  DESTINATION ${TACQ_PACKAGE_DIR} COMPONENT runtime)
