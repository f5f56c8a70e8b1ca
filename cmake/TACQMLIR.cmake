# Finds LLVM/MLIR 19.1 and sets how the compiler's libraries are built: object libraries that are
# linked once into the shared library TACQCompiler, so that each tool costs one small link.
find_package(MLIR 19.1 REQUIRED CONFIG HINTS /usr/lib/llvm-19/lib/cmake/mlir)
if(NOT LLVM_PACKAGE_VERSION MATCHES "^19\\.1\\.")
  message(FATAL_ERROR "TACQ needs LLVM/MLIR 19.1, found ${LLVM_PACKAGE_VERSION}")
endif()
list(APPEND CMAKE_MODULE_PATH "${MLIR_CMAKE_DIR}" "${LLVM_CMAKE_DIR}")
# Without it the generated documentation lands outside of the build folder.
set(MLIR_BINARY_DIR ${PROJECT_BINARY_DIR})
set(LLVM_RUNTIME_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/bin)
set(LLVM_LIBRARY_OUTPUT_INTDIR ${PROJECT_BINARY_DIR}/lib)
include(TableGen)
include(AddLLVM)
include(AddMLIR)
include_directories(SYSTEM ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
include_directories(${PROJECT_SOURCE_DIR}/dialects/include ${PROJECT_SOURCE_DIR}/passes/include)

find_package(Protobuf REQUIRED)

# Dense algebra of calibration and quantization. OpenBLAS has LAPACK's functions, <lapack.h> their
# declarations; the library lapacke would bring a second copy of both.
find_package(Threads REQUIRED)
find_package(OpenBLAS REQUIRED CONFIG)
find_path(TACQ_LAPACK_INCLUDE lapack.h REQUIRED)
set(TACQ_BLAS_INCLUDES ${OpenBLAS_INCLUDE_DIRS} ${TACQ_LAPACK_INCLUDE})
set(TACQ_BLAS_LIBRARIES ${OpenBLAS_LIBRARIES} Threads::Threads)

set(TACQ_MLIR_FLAGS -fno-exceptions -Wall -Wextra -Wno-unused-parameter -Wno-deprecated-declarations)

set(TACQ_COMPILER_INCLUDES
  ${PROJECT_SOURCE_DIR}/dialects/include ${PROJECT_BINARY_DIR}/dialects/include
  ${PROJECT_SOURCE_DIR}/passes/include ${PROJECT_BINARY_DIR}/passes/include
  ${PROJECT_SOURCE_DIR}/compiler/include ${PROJECT_SOURCE_DIR}/runtime/include
  ${PROJECT_SOURCE_DIR}/runtime/third_party/dlpack)

# Tools and plugins link to the C++ symbols of TACQCompiler, and type ids must be unique over all.
set(CMAKE_CXX_VISIBILITY_PRESET default)
set(CMAKE_VISIBILITY_INLINES_HIDDEN OFF)

add_custom_target(TACQTableGen)

# The headers and flags with which files of the compiler are compiled, and wait for generated ones.
function(tacq_use_headers target)
  target_include_directories(${target} SYSTEM PRIVATE ${MLIR_INCLUDE_DIRS} ${LLVM_INCLUDE_DIRS})
  target_include_directories(${target} PRIVATE ${TACQ_COMPILER_INCLUDES})
  target_compile_options(${target} PRIVATE ${TACQ_MLIR_FLAGS} -Xclang -fno-pch-timestamp)
  # Every generated header exists before any file compiles: TableGen is quick, waiting is not.
  add_dependencies(${target} TACQTableGen)
endfunction()

# What dialects declare is most of what a file has to read: compiled once, for all of them.
add_library(tacq_mlir_pch OBJECT ${PROJECT_SOURCE_DIR}/cmake/pch.cpp)
tacq_use_headers(tacq_mlir_pch)
target_precompile_headers(tacq_mlir_pch PRIVATE ${PROJECT_SOURCE_DIR}/cmake/pch.h)

set_property(GLOBAL PROPERTY TACQ_COMPILER_OBJECTS "")

function(tacq_use_mlir target)
  tacq_use_headers(${target})
  target_precompile_headers(${target} REUSE_FROM tacq_mlir_pch)
endfunction()

# tacq_add_test_program(NAME sources... [LIBRARIES libraries...]): a GoogleTest program of the
# compiler. What else its files need is said of NAMEObjects.
function(tacq_add_test_program name)
  cmake_parse_arguments(ARG "" "" "LIBRARIES" ${ARGN})
  find_package(GTest REQUIRED)
  # An object library, since the precompiled header is for position-independent code.
  add_library(${name}Objects OBJECT ${ARG_UNPARSED_ARGUMENTS})
  tacq_use_mlir(${name}Objects)
  target_link_libraries(${name}Objects PRIVATE GTest::gtest ${ARG_LIBRARIES})
  add_executable(${name})
  target_link_libraries(${name} PRIVATE ${name}Objects TACQCompiler ${ARG_LIBRARIES}
    GTest::gtest_main)
endfunction()

# tacq_add_library(NAME sources... [DEPENDS generated-targets...] [INCLUDES dirs...])
function(tacq_add_library name)
  cmake_parse_arguments(ARG "" "" "DEPENDS;INCLUDES" ${ARGN})
  add_library(${name} OBJECT ${ARG_UNPARSED_ARGUMENTS})
  tacq_use_mlir(${name})
  target_include_directories(${name} PRIVATE ${ARG_INCLUDES})
  if(ARG_DEPENDS)
    add_dependencies(${name} ${ARG_DEPENDS})
  endif()
  set_property(GLOBAL APPEND PROPERTY TACQ_COMPILER_OBJECTS ${name})
endfunction()
