# Language, warnings, hardening and sanitizers: the interface library `flags` that every target links.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# PIE by explicit flags, the same for libraries and programs: they share one precompiled header.
set(CMAKE_POSITION_INDEPENDENT_CODE OFF)

set(MDFRONT_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize takes them: address,undefined or thread")

find_program(CCACHE ccache)
if(CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env CCACHE_SLOPPINESS=pch_defines,time_macros ${CCACHE})
    set(CMAKE_C_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
endif()

# clang builds the fuzz targets; all else is gcc's. Its -Wconversion has the signs in it, gcc's has not.
set(gcc_only $<CXX_COMPILER_ID:GNU>)
set(clang_only $<CXX_COMPILER_ID:Clang>)

add_library(flags INTERFACE)
target_compile_options(flags INTERFACE
    -Wall -Wextra -Wconversion -Wshadow
    -fPIE -fstack-protector-strong -fstack-clash-protection -fcf-protection
    $<${clang_only}:-Wno-sign-conversion>
    # What gcc 12 and 14 see in std::string, std::function and std::optional, where there is no LTO or where
    # there are sanitizers, is not there.
    $<${gcc_only}:-Wno-error=maybe-uninitialized -Wno-error=array-bounds -Wno-error=restrict -Wno-error=stringop-overflow>)
if(CCACHE)
    # So that what uses the precompiled header can be cached.
    target_compile_options(flags INTERFACE $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess>
        $<$<COMPILE_LANG_AND_ID:CXX,Clang>:SHELL:-Xclang -fno-pch-timestamp>)
endif()
target_link_options(flags INTERFACE -pie -Wl,-z,relro,-z,now,-z,noexecstack)
target_compile_definitions(flags INTERFACE _GLIBCXX_ASSERTIONS
    $<$<CONFIG:Release>:_FORTIFY_SOURCE=2> $<$<CONFIG:Debug>:MDFRONT_GUARDS>
    MDFRONT_VERSION="${PROJECT_VERSION}")
if(MDFRONT_SANITIZE)
    target_compile_options(flags INTERFACE -fsanitize=${MDFRONT_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
    if(MDFRONT_SANITIZE MATCHES undefined)
        # ASan ends on a null pointer, too, and types of one class are checked by the compiler: both
        # together are a fifth of the time that such a build takes.
        target_compile_options(flags INTERFACE -fno-sanitize=null,vptr)
    endif()
    target_link_options(flags INTERFACE -fsanitize=${MDFRONT_SANITIZE})
endif()

set(CMAKE_CXX_FLAGS_RELEASE "-O2")
set(CMAKE_C_FLAGS_RELEASE "-O2")
# -g1: lines for backtraces; more would double the time and the size of sanitizer builds.
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1")
set(CMAKE_C_FLAGS_DEBUG "-O1 -g1")
