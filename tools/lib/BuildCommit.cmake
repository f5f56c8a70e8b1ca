# Writes BuildCommit.h with the commit of SOURCE to OUTPUT.
execute_process(COMMAND git -C ${SOURCE} rev-parse --short=12 HEAD
  OUTPUT_VARIABLE commit ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
if(NOT commit)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT
"// Written by the build.
#define TACQ_BUILD_COMMIT \"@commit@\"
" @ONLY)
